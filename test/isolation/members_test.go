package isolation_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// steady is a camera of 200 small frames a second that waits while the budget is full.
const steady = "sim:?width=128&height=128&dtype=uint16&fps=200&pattern=hash"

// begin starts a run without analysers of its own, and waits for its first frames.
func begin(t *testing.T, camera string, args ...string) (*programs.Local, bus.Status) {
	t.Helper()
	l := bin.StartLocal(t, camera, append([]string{"--source", steady, "--analyzers", "0", "--shard-frames", "64"}, args...)...)
	return l, await(t, l, func(st bus.Status) bool { return st.Durable > 50 })
}

func await(t *testing.T, l *programs.Local, want func(bus.Status) bool) bus.Status {
	t.Helper()
	st, err := l.Await(t.Context(), want)
	if err != nil {
		t.Fatalf("%v\n%+v", err, l.Wait(t))
	}
	return st
}

// finish stops the run, which must end with every frame durable, and returns its account.
func finish(t *testing.T, l *programs.Local) (sum run.Summary) {
	t.Helper()
	if _, err := l.Client.Stop(t.Context(), bus.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	return ended(t, l)
}

func ended(t *testing.T, l *programs.Local) (sum run.Summary) {
	t.Helper()
	r := l.Wait(t)
	if r.Code != 0 {
		t.Fatalf("the run has ended with %d\n%s", r.Code, r.Stderr)
	}
	r.LastLine(t, &sum)
	if sum.Lost != 0 || sum.Written != sum.Captured || len(programs.Ledger(t, sum.Store)) != 0 {
		t.Errorf("captured %d, written %d, lost %v", sum.Captured, sum.Written, sum.LostByReason)
	}
	bin.Verify(t, sum)
	programs.CheckFrames(t, sum)
	l.NothingLeft()
	return sum
}

// TestMemberThatJoinsLate: it gets the frames from then on, and the account says what it has not seen.
func TestMemberThatJoinsLate(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"latest", "lossless"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			l, st := begin(t, "late-"+policy, "--analyze-policy", policy, "--budget", "256MiB")
			var mu sync.Mutex
			seen := map[uint64]bool{}
			g := join(t, l.NC, l.Camera, "late", func(g *guest, fs []link.Offered) {
				mu.Lock()
				defer mu.Unlock()
				for _, f := range fs {
					seen[f.Offer.Seq] = true
				}
				g.Release(fs, frames.Absent)
			})
			await(t, l, func(now bus.Status) bool { return now.Durable > st.Durable+100 })
			sum := finish(t, l)
			g.leave(t)
			if uint64(len(seen)) != sum.Analyzed || sum.Analyzed == 0 {
				t.Errorf("it has seen %d frames, the account says %d of %d, skipped %d", len(seen), sum.Analyzed, sum.Captured, sum.Skipped)
			}
			if policy == "lossless" && sum.Analyzed != sum.Captured {
				t.Errorf("%d of %d frames were kept for it", sum.Analyzed, sum.Captured)
			}
		})
	}
}

// TestMemberThatNeverReleases: in a lossless group it fills the budget, and the backpressure names it; the run still ends
// in time, and nothing is lost, since the writer has written all.
func TestMemberThatNeverReleases(t *testing.T) {
	t.Parallel()
	l, _ := begin(t, "hoarder", "--analyze-policy", "lossless", "--budget", "16MiB", "--drain-timeout", "2s")
	transitions := programs.Listen[bus.Backpressure](t, l.BrokerURL(), bus.BackpressureSubject(l.Camera))
	g := join(t, l.NC, l.Camera, "hoarder", func(*guest, []link.Offered) {})
	full := transitions.Wait(t, time.Minute, "a full budget", func(b bus.Backpressure) bool { return b.To == bus.BudgetFull })
	st := await(t, l, func(st bus.Status) bool {
		return st.Budget.State == bus.BudgetFull && st.Budget.HolderMember == "hoarder" && st.Durable == st.Captured
	})
	m := programs.Member(st, "hoarder")
	if full.Holder != "analyze" || full.HolderMember != "" && full.HolderMember != "hoarder" || st.Budget.Holder != "analyze" || m.HeldBytes < 15<<20 || m.OldestUnreleasedNS <= 0 {
		t.Errorf("full: %+v; %+v; %+v", full, st.Budget, m)
	}
	sum := finish(t, l)
	g.leave(t)
	if sum.EndedBy != run.EndedDeadline && sum.EndedBy != run.EndedStop {
		t.Errorf("ended by %s", sum.EndedBy)
	}
	t.Logf("ended by %s, %.1f s of draining, %q", sum.EndedBy, sum.DrainSeconds, sum.Warnings)
}

// TestMembersThatComeAndGo: a hundred of them, each with what it has in hand when it goes. No frame is lost, those of a
// lossless group reach somebody in the end, and acquire has nothing left of them.
func TestMembersThatComeAndGo(t *testing.T) {
	t.Parallel()
	l, before := begin(t, "visitors", "--analyze-policy", "lossless", "--budget", "64MiB")
	var mu sync.Mutex
	seen := map[uint64]bool{}
	release := func(g *guest, fs []link.Offered) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range fs {
			seen[f.Offer.Seq] = true
		}
		g.Release(fs, frames.Absent)
	}
	stays := join(t, l.NC, l.Camera, "stays", release)
	for i := range 100 {
		got := make(chan struct{})
		var once sync.Once
		g := join(t, l.NC, l.Camera, fmt.Sprintf("visitor-%d", i%3), func(g *guest, fs []link.Offered) {
			once.Do(func() { close(got) })
			if i%2 == 0 {
				release(g, fs[:len(fs)/2]) // the others go to somebody else
			}
		})
		if i%4 != 3 { // that one goes before it has anything
			select {
			case <-got:
			case <-time.After(time.Minute):
				t.Fatalf("visitor %d gets no frames", i)
			}
		}
		g.leave(t)
	}
	after := await(t, l, func(st bus.Status) bool { return len(st.Members) == 2 && st.Budget.State == bus.BudgetOpen })
	if after.Goroutines > before.Goroutines+10 {
		t.Errorf("acquire had %d goroutines and has %d", before.Goroutines, after.Goroutines)
	}
	sum := finish(t, l)
	stays.leave(t)
	if uint64(len(seen)) != sum.Captured || sum.Analyzed != sum.Captured {
		t.Errorf("%d of %d frames were seen, the account says %d", len(seen), sum.Captured, sum.Analyzed)
	}
}

// TestMemberThatReleasesOutOfOrder: the newest first, some twice, and some that it never had.
func TestMemberThatReleasesOutOfOrder(t *testing.T) {
	t.Parallel()
	l, st := begin(t, "disorder", "--analyze-policy", "lossless", "--budget", "64MiB")
	var held []link.Offered
	var seen int
	g := join(t, l.NC, l.Camera, "disorder", func(g *guest, fs []link.Offered) {
		seen += len(fs)
		for _, f := range fs {
			f.Frame.Retain() // each is released twice, and one as another
			f.Frame.Retain()
		}
		held = append(held, fs...)
		if len(held) < 20 {
			return
		}
		slices.Reverse(held)
		g.Release(held, frames.Absent)
		g.Release(held, frames.Absent)
		foreign := held[0]
		foreign.Offer.Seq += 1 << 40
		g.Release([]link.Offered{foreign}, frames.Absent)
		held = nil
	})
	await(t, l, func(now bus.Status) bool { return now.Durable > st.Durable+200 })
	if _, err := l.Client.Stop(t.Context(), bus.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	// What it still has it gives back when it goes: it is the last of its group, and the frames are durable.
	await(t, l, func(now bus.Status) bool { return now.State == bus.StateDraining && now.Durable == now.Captured })
	g.leave(t)
	rest := join(t, l.NC, l.Camera, "rest", func(g *guest, fs []link.Offered) { g.Release(fs, frames.Absent) })
	sum := ended(t, l)
	rest.leave(t)
	if sum.Analyzed != sum.Captured || seen == 0 {
		t.Errorf("it has seen %d frames, the account says %d of %d", seen, sum.Analyzed, sum.Captured)
	}
}
