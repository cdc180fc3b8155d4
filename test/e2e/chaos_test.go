package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestManyKills kills one process after the other, whichever comes: the run completes, with every byte of every frame.
// SLUICE_E2E_KILLS sets how many (default 6, `make chaos` takes more), SLUICE_E2E_SEED which.
func TestManyKills(t *testing.T) {
	t.Parallel()
	kills, seed := number(t, "SLUICE_E2E_KILLS", 6), number(t, "SLUICE_E2E_SEED", rand.Uint64()>>1)
	t.Logf("SLUICE_E2E_KILLS=%d SLUICE_E2E_SEED=%d", kills, seed)
	if kills > 30 {
		t.Fatal("a supervisor gives up what dies too often: at most 30 kills")
	}
	random := rand.New(rand.NewPCG(seed, 0))
	args := []string{
		"--source", fmt.Sprintf("sim:?width=%d&height=%d&dtype=uint16&fps=400&pattern=hash", 1+random.IntN(200), 1+random.IntN(200)),
		"--frames", strconv.FormatUint(400*(kills+1), 10), "--shard-frames", strconv.Itoa(1 + random.IntN(100)),
		"--budget", "16MiB", "--writers", "3", "--analyzers", "2",
		"--analyze-policy", []string{"lossless", "latest"}[random.IntN(2)], "--compress", []string{"none", "zstd"}[random.IntN(2)],
	}
	t.Logf("%q", args)
	s, r := local(t, "chaos", args...)
	deaths, killed := map[string]int{}, map[int]bool{}
	for range kills {
		// The supervisor gives a child up that dies again and again.
		const most = 5
		var victim string
		for victim == "" || deaths[victim] >= most {
			names := []string{"writer-1", "writer-2", "writer-3", "analyze-1", "analyze-2", "acquire", "broker"}
			victim = names[random.IntN(len(names))]
		}
		deaths[victim]++
		from, pid := uint64(0), 0
		step := 1 + random.Uint64N(200)
		s.await("frames, and "+victim, r, func(st bus.Status) bool {
			if from == 0 {
				from = st.Captured
			}
			switch victim {
			case "acquire":
				pid = st.PID
			case "broker":
				pid = s.Endpoint().PID
			default:
				pid = programs.Member(st, victim).PID
			}
			return st.State == bus.StateRunning && st.Captured >= from+step && pid != 0 && !killed[pid]
		})
		t.Logf("kill %s", victim)
		s.kill(pid)
		killed[pid] = true
	}
	sum := s.end(r, 0)
	if sum.Captured != 400*(kills+1) || sum.Lost != 0 || sum.Restarts < int(kills) {
		t.Errorf("captured %d, lost %d, %d restarts", sum.Captured, sum.Lost, sum.Restarts)
	}
	s.NothingLeft()
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
