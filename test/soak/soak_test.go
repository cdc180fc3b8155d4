package soak_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// settings are what the environment says.
type settings struct {
	length time.Duration   // SLUICE_SOAK: of the measurement
	rate   config.ByteSize // SLUICE_SOAK_RATE: of the camera, in a second
	out    string          // SLUICE_SOAK_OUT: the folder for soak.csv, soak.md and soak.png
}

func read(t *testing.T) settings {
	t.Helper()
	s := settings{length: 20 * time.Second, rate: 50_000_000, out: t.TempDir()}
	var err error
	if v := os.Getenv("SLUICE_SOAK"); v != "" {
		if s.length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
		s.rate = 100_000_000
	}
	if v := os.Getenv("SLUICE_SOAK_RATE"); v != "" {
		if s.rate, err = config.ParseByteSize(v); err != nil {
			t.Fatal(err)
		}
	}
	if v := os.Getenv("SLUICE_SOAK_OUT"); v != "" {
		s.out = v
		if err := os.MkdirAll(v, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// What is recorded: a shard has twice the frames that the budget holds, so that a writer that stops fills it.
const (
	frameBytes  = 512 * 512 * 2
	budget      = "128MiB"
	shardFrames = 512
)

// What has to fill fills in the warm-up: the combiner's memory of samples, 24 MiB, in four minutes at 200 frames a second. A
// shorter soak than shortest is measured and not judged.
const (
	warmUp   = 5 * time.Minute
	shortest = 2 * warmUp
)

// TestSoak records at a steady rate while consumers come and go, and takes the data away as it is written. In the end
// every frame that the camera made was checked byte for byte, or is in a ledger; and what the processes hold has not
// grown.
func TestSoak(t *testing.T) {
	s := read(t)
	source := fmt.Sprintf("sim:?width=512&height=512&dtype=uint16&fps=%g&pattern=hash&free=true&ring=512", float64(s.rate)/frameBytes)
	l := bin.StartLocal(t, "soak", "--source", source, "--budget", budget, "--shard-frames", fmt.Sprint(shardFrames),
		"--writers", "2", "--analyzers", "2")
	st, err := l.Await(t.Context(), func(st bus.Status) bool { return st.Durable > 0 && st.Store != "" })
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMover(st.Store, source, shardFrames)
	if err != nil {
		t.Fatal(err)
	}
	csv, err := create(filepath.Join(s.out, "soak.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer csv.Close()
	tab, err := newTable(csv, columns())
	if err != nil {
		t.Fatal(err)
	}
	seen, err := newSampler(l, tab, m.files)
	if err != nil {
		t.Fatal(err)
	}
	l.Poll(t, "word from everybody", func() bool {
		return !slices.ContainsFunc(processes(), func(p string) bool { return seen.pid(p) == 0 })
	})

	if err := record(t.Context(), l, s.length, m, seen); err != nil {
		t.Error(err)
	}
	l.Signal(t, syscall.SIGINT)
	sum := end(t, l)
	l.NothingLeft()
	if err := m.all(sum.Captured); err != nil {
		t.Error(err)
	}
	identity(t, m, sum)
	report(t, s, tab, seen, m, sum)
}

// record measures, moves and makes trouble for so long; longer where a slow machine has seen no trouble by then.
func record(ctx context.Context, l *programs.Local, length time.Duration, m *mover, seen *sampler) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.run(ctx) })
	g.Go(func() error { return seen.sample(ctx, time.Now()) })
	g.Go(func() error {
		return trouble{l, seen, min(max(length/15, 1500*time.Millisecond), 12*time.Second)}.start(ctx)
	})
	g.Go(func() error {
		defer stop()
		begun := time.Now()
		limit, cancel := context.WithTimeout(ctx, length+2*time.Minute)
		defer cancel()
		return l.Until(limit, func() bool { return time.Since(begun) >= length && seen.troubled() })
	})
	return g.Wait()
}

// end waits for the end of a run that was stopped. Frames may be lost: the camera does not wait for a full budget.
func end(t *testing.T, l *programs.Local) (sum run.Summary) {
	t.Helper()
	r := l.Wait(t)
	if r.Code != 0 && r.Code != 3 {
		t.Errorf("the run has ended with %d\n%s", r.Code, r.Stderr)
	}
	r.LastLine(t, &sum)
	return sum
}

// identity is guarantee 5: every frame was checked, or is lost for the reason that a ledger gives.
func identity(t *testing.T, m *mover, sum run.Summary) {
	t.Helper()
	if m.durable != sum.Written || uint64(len(m.lost)) != sum.Lost || m.durable+uint64(len(m.lost)) != sum.Captured || sum.Captured == 0 {
		t.Errorf("checked %d durable frames and %d lost ones; the summary has %d, %d of %d", m.durable, len(m.lost), sum.Written, sum.Lost, sum.Captured)
	}
	ledger := programs.Ledger(t, m.store)
	for seq, state := range m.lost {
		if !slices.Contains(ledger[seq], state) {
			t.Fatalf("frame %d is %s, the ledgers say %v", seq, state, ledger[seq])
		}
	}
}

// report writes what was measured, and judges it.
func report(t *testing.T, s settings, tab *table, seen *sampler, m *mover, sum run.Summary) {
	t.Helper()
	warm := min(warmUp, s.length/2)
	all := tab.judge(warm)
	head := fmt.Sprintf("%s at %s/s, the first %s left out: %d frames captured, %d written and checked (%.1f GB), %d lost and in a ledger %v, "+
		"%d backpressure excursions (%d of them full), %d restarts\n\n", s.length, s.rate, warm, sum.Captured, m.durable,
		float64(m.durable)*frameBytes/1e9, len(m.lost), sum.LostByReason,
		seen.transitions(bus.BudgetThrottled), seen.transitions(bus.BudgetFull), sum.Restarts)
	t.Logf("%s%s", head, text(all))
	if err := errors.Join(os.WriteFile(filepath.Join(s.out, "soak.md"), []byte(head+text(all)), 0o644), draw(tab, filepath.Join(s.out, "soak.png"))); err != nil {
		t.Error(err)
	}
	for _, o := range limits(tab) {
		t.Error("too much memory, or never seen: ", o)
	}
	if !seen.troubled() || sum.Restarts == 0 {
		t.Errorf("%d excursions and %d restarts: nothing has happened", seen.transitions(bus.BudgetThrottled), sum.Restarts)
	}
	for _, v := range all {
		if !v.flat && s.length >= shortest {
			t.Errorf("%s grows: %g → %g", v.column, v.first/v.scale, v.last/v.scale)
		}
	}
}
