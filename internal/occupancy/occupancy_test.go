package occupancy_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sluicedaq/sluice/internal/occupancy"
)

func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := occupancy.New()
		if d := cmp.Diff(occupancy.Shares{}, w.Shares()); d != "" {
			t.Errorf("without time: %s", d)
		}
		<-time.After(time.Second) // of the bubble's clock
		if was := w.Switch(occupancy.Busy); was != occupancy.Starved {
			t.Errorf("it began %s, want starved", was)
		}
		<-time.After(2 * time.Second)
		func() {
			defer w.Switch(w.Switch(occupancy.Blocked))
			<-time.After(4 * time.Second)
		}()
		<-time.After(time.Second)
		w.Switch(occupancy.State(3)) // is ignored
		want := occupancy.Shares{Busy: 0.375, Starved: 0.125, Blocked: 0.5, Interval: 8 * time.Second}
		if d := cmp.Diff(want, w.Shares()); d != "" {
			t.Error(d)
		}
		<-time.After(time.Second)
		if d := cmp.Diff(occupancy.Shares{Busy: 1, Interval: time.Second}, w.Shares()); d != "" {
			t.Errorf("a new interval begins in the present state: %s", d)
		}
	})
}

func TestStateNames(t *testing.T) {
	for s, want := range map[occupancy.State]string{
		occupancy.Busy: "busy", occupancy.Starved: "starved", occupancy.Blocked: "blocked", 3: "invalid",
	} {
		if s.String() != want {
			t.Errorf("state %d is %q, want %q", s, s, want)
		}
	}
}

// TestConcurrentUse is for the race detector; the shares add up to one all the same.
func TestConcurrentUse(t *testing.T) {
	w := occupancy.New()
	var wg sync.WaitGroup
	for _, s := range []occupancy.State{occupancy.Busy, occupancy.Starved, occupancy.Blocked} {
		wg.Go(func() {
			for range 1000 {
				w.Switch(s)
			}
		})
	}
	wg.Wait()
	got := w.Shares()
	if sum := got.Busy + got.Starved + got.Blocked; sum < 1-1e-12 || sum > 1+1e-12 {
		t.Errorf("shares %+v add up to %v", got, sum)
	}
}

func BenchmarkSwitch(b *testing.B) {
	w := occupancy.New()
	b.ReportAllocs()
	for b.Loop() {
		w.Switch(occupancy.Busy)
		w.Switch(occupancy.Starved)
	}
}
