package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
)

// TestChaos records runs into which faults fall. SLUICE_CHAOS sets how many (a handful by default), SLUICE_CHAOS_SEED
// repeats one of them, SLUICE_CHAOS_PARALLEL is how many there are at a time, SLUICE_CHAOS_TABLE a file for the table of
// what was tried and what it cost. In a third of them pixels go through JetStream; SLUICE_CHAOS_LINK=jetstream has them do so in
// all, =shm in none.
func TestChaos(t *testing.T) {
	rounds, parallel := number(t, "SLUICE_CHAOS", 5), number(t, "SLUICE_CHAOS_PARALLEL", 3)
	seeds := make([]uint64, rounds)
	for i := range seeds {
		seeds[i] = rand.Uint64() >> 1
		if link := os.Getenv("SLUICE_CHAOS_LINK"); link == "jetstream" || link == "" && i%3 == 1 {
			seeds[i] |= streamed
		}
	}
	if seed := number(t, "SLUICE_CHAOS_SEED", 0); seed != 0 {
		seeds = []uint64{seed}
	}
	total := newTable()
	// The number of rounds at a time is not that of tests: it is the machine that they share.
	room := make(chan struct{}, parallel)
	var playing sync.WaitGroup
	for _, seed := range seeds {
		room <- struct{}{}
		playing.Go(func() {
			defer func() { <-room }()
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				res := result{failed: true}
				defer func() { total.add(res) }()
				res = play(t, newPlan(seed))
			})
		})
	}
	playing.Wait()
	text := total.String()
	t.Logf("\n%s", text)
	if name := os.Getenv("SLUICE_CHAOS_TABLE"); name != "" {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// number is the value of a variable, or def where it is not set.
func number(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
