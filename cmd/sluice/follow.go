package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/monitor"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/supervise"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The times of following a run.
const (
	pollEvery  = 200 * time.Millisecond
	pollTime   = 2 * time.Second  // for one answer
	lostTime   = 5 * time.Second  // for an acquire that says it has no run to take it up again
	bereftTime = 90 * time.Second // for the end of a run that has lost a required group
)

// follower follows one run to its end. Events only make it quicker: core NATS may lose them, and anybody may publish
// them, so what counts is asked for.
type follower struct {
	client *bus.Client
	crew   *crew
	screen monitor.Screen
	events chan *nats.Msg

	run      frames.RunID
	store    string
	armed    bus.Armed
	finished bool                      // an event says so
	polled   time.Time                 // when acquire was asked last
	last     bus.Status                // of the run
	bereft   string                    // the required group that has nobody left
	told     map[*supervise.Child]bool // the children whose end was told
	away     time.Time                 // since when acquire says that it has no such run
	heard    time.Time                 // when acquire answered last
	stop     bus.StopRequest
	stopping bool
}

// newFollower subscribes to the camera's events.
func newFollower(nc *nats.Conn, client *bus.Client, crew *crew, screen monitor.Screen) (*follower, error) {
	f := &follower{client: client, crew: crew, screen: screen, events: make(chan *nats.Msg, 256), told: map[*supervise.Child]bool{}}
	if _, err := nc.ChanSubscribe(bus.EventsSubject(string(crew.run.Camera.Camera)), f.events); err != nil {
		return nil, fmt.Errorf("following events: %w", err)
	}
	return f, nil
}

// follow returns the run's summary when it is over. The end of ctx stops the run, hard does so without a drain.
func (f *follower) follow(ctx context.Context, hard <-chan struct{}, armed bus.Armed) (*runpkg.Summary, error) {
	f.run, f.store, f.armed = armed.Spec.Run, armed.Store, armed
	f.finished, f.away, f.last, f.heard = false, time.Time{}, bus.Status{}, time.Now()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	interrupted := ctx.Done()
	var deadline <-chan time.Time
	for {
		select {
		case <-ticker.C:
		case m := <-f.events:
			if !f.event(m) {
				continue
			}
		case <-interrupted:
			interrupted = nil
			f.screen.Say("stopping: the camera ends, what was captured is written (a second interrupt gives that up)")
			f.stopping = true
		case <-hard:
			hard = nil
			f.screen.Say("stopping at once")
			f.stopping, f.stop.Hard = true, true
			deadline = time.After(hardTime)
		case <-deadline:
			return f.stoppedHard()
		}
		if err := f.childLost(); err != nil {
			return nil, err
		}
		if f.bereft == "" {
			if f.bereft = f.crew.bereft(); f.bereft != "" {
				f.screen.Say("nobody of the group " + f.bereft + " is left: the run ends now")
				f.stopping, f.stop.Hard = true, f.bereft == groupWriter
				if deadline == nil {
					deadline = time.After(bereftTime)
				}
			}
		}
		summary, err := f.poll(work)
		if summary != nil && f.bereft != "" {
			return summary, f.withoutGroup(summary)
		}
		if summary != nil || err != nil {
			return summary, err
		}
	}
}

// withoutGroup is the error of a run that a required group has left; the account gets the reason.
func (f *follower) withoutGroup(s *runpkg.Summary) error {
	if f.bereft == groupWriter {
		s.EndedBy = runpkg.EndedWriter
	}
	return exit.Errorf(exit.Unavailable, "every process of the group %s is lost, which the run can't do without: see sluice verify %s", f.bereft, f.store)
}

// silent gives up a run whose acquire has not answered for as long as a drain may take without a sign of life.
func (f *follower) silent() (*runpkg.Summary, error) {
	limit := f.crew.run.DrainTimeout
	if time.Since(f.heard) <= limit {
		return nil, nil
	}
	return f.noAccount(runpkg.EndedInterrupted), exit.Errorf(exit.Unavailable,
		"%w: acquire has not answered for %s: the broker is out of reach, or acquire does not move; %s", bus.ErrNoAnswer, limit, f.unfinished())
}

// stoppedHard is the end of a run whose acquire does not end it in time.
func (f *follower) stoppedHard() (*runpkg.Summary, error) {
	summary := f.noAccount(runpkg.EndedHard)
	if f.bereft != "" {
		return summary, f.withoutGroup(summary)
	}
	return summary, exit.Errorf(exit.Interrupted, "stopped hard; %s", f.unfinished())
}

// unfinished says what becomes of a store that acquire has not completed.
func (f *follower) unfinished() string {
	return fmt.Sprintf("the camera's next run completes %[1]s with what is still in memory, or sluice recover --discard-slab %[1]s without", f.store)
}

// noAccount is the account of a run that acquire gives none of: how many frames were captured its slab knows, the rest
// is as of its last status.
func (f *follower) noAccount(endedBy string) *runpkg.Summary {
	spec, s := f.armed.Spec, f.last
	if slabs, err := slab.List(shmDir); err == nil {
		for _, left := range slabs {
			if left.Err == nil && left.Spec.Run == f.run {
				s.Captured = max(s.Captured, left.Captured)
			}
		}
	}
	sum := runpkg.Summary{
		V: 1, Run: f.run, Store: f.store, Camera: spec.Camera, Source: spec.Source,
		Shape: append([]int{int(s.Captured)}, spec.Geometry.Shape()...), Dtype: spec.Geometry.Dtype,
		Captured: s.Captured, Written: s.Durable, Lost: s.Lost, LostByReason: map[string]uint64{},
		Bytes: s.Durable * uint64(spec.Geometry.FrameBytes()), BudgetBytes: f.armed.BudgetBytes, PeakBudgetBytes: s.Budget.Peak,
		ThrottledSeconds: s.Budget.ThrottledSeconds, PausedSeconds: s.Budget.PausedSeconds, EndedBy: endedBy,
		Warnings: []string{"acquire gave no account: captured is what shared memory says, the other figures are those of its last status"},
	}
	maps.Copy(sum.LostByReason, s.LostByReason)
	return f.account(sum)
}

// childLost decides what the end of children for good means: without acquire or the broker there is no run, the end of
// a member is told.
func (f *follower) childLost() error {
	for _, c := range []*supervise.Child{f.crew.acquire, f.crew.server} {
		if c != nil && closed(c.Done()) {
			return lostChild(c)
		}
	}
	for _, c := range f.crew.members {
		if closed(c.Done()) && !f.told[c] {
			f.told[c] = true
			f.screen.Say(lostChild(c).Error())
		}
	}
	return nil
}

// event looks for the finished event; true says that it is time to poll. What else acquire has to tell comes through
// its log, which does not get lost.
func (f *follower) event(m *nats.Msg) bool {
	var e bus.Event
	if err := json.Unmarshal(m.Data, &e); err != nil || e.Run != f.run || e.Kind != bus.EventFinished {
		return false
	}
	f.finished = true
	return time.Since(f.polled) > pollEvery/4 // however many of them there are
}

// poll asks acquire how it goes, shows it, repeats what acquire was asked and may not have heard, and returns the
// summary when the run is over.
func (f *follower) poll(ctx context.Context) (*runpkg.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	f.polled = time.Now()
	s, err := f.client.Status(ctx, bus.RunRequest{})
	if err != nil { // acquire or the broker is away: the supervisor brings them back or says that it can't
		return f.silent()
	}
	f.heard = time.Now()
	f.crew.meter.look(s)
	if s.Run == f.run {
		f.away, f.last = time.Time{}, s
		f.screen.Show(s)
		if f.bereft != "" && s.State == bus.StateDraining && s.Durable+s.Lost >= s.Captured {
			f.stop.Hard = true // what is left to do is the lost group's
		}
		if draining := s.State == bus.StateDraining; f.stopping && (!draining || f.stop.Hard) {
			f.stop.Run = f.run
			if _, err := f.client.Stop(ctx, f.stop); err != nil {
				f.crew.log.Debug("asking acquire to stop", "error", err)
			}
		}
		return nil, nil
	}
	if s.State != bus.StateIdle && s.State != bus.StateFault {
		return nil, nil // a run from before is being settled
	}
	f.screen.Show(s)
	if s.LastRun != nil && s.LastRun.Run == f.run {
		return f.account(*s.LastRun), fault(s)
	}
	if f.finished { // the event's own account is anybody's: the store has the true one
		if sum := f.inStore(); sum != nil {
			return sum, nil
		}
	}
	switch {
	case f.away.IsZero():
		f.away = time.Now()
	case time.Since(f.away) > lostTime:
		return f.fromStore()
	}
	return nil, nil
}

// fault is the error of a run that ended in the state fault.
func fault(s bus.Status) error {
	if s.State != bus.StateFault {
		return nil
	}
	code := exit.Damaged
	if s.LastRun != nil {
		if c := bus.ExitCode(*s.LastRun); c == exit.Interrupted || c == exit.DiskFull {
			code = c // else the store is unfinished, whatever the reason
		}
	}
	return exit.Errorf(code, "%s", s.Reason)
}

// fromStore finds the account of a run whose acquire died after its end, before it could tell.
func (f *follower) fromStore() (*runpkg.Summary, error) {
	if sum := f.inStore(); sum != nil {
		return sum, nil
	}
	if f.last.Captured == 0 {
		return nil, errNothing
	}
	return nil, exit.Errorf(exit.Damaged, "acquire has lost the run: see sluice verify %s", f.store)
}

// inStore is the account that a finished store has of the run, nil where there is none.
func (f *follower) inStore() *runpkg.Summary {
	a, err := store.ReadAttributes(vfs.OS{}, f.store)
	if err != nil || a.Run != f.run || a.Summary == nil {
		return nil
	}
	return f.account(*a.Summary)
}

// account adds what only the supervisor knows.
func (f *follower) account(s runpkg.Summary) *runpkg.Summary {
	s.Restarts = max(s.Restarts, f.crew.restarts())
	return &s
}

// outcome is the error that tells how the run ended, nil where every frame is durable.
func outcome(s runpkg.Summary) error {
	code := bus.ExitCode(s)
	if code == exit.OK {
		return nil
	}
	var err error
	switch {
	case s.Lost > 0:
		err = fmt.Errorf("%d of %d frames were lost: the store's ledger names them", s.Lost, s.Captured)
	default:
		err = errors.New("the run ended early")
	}
	if n := len(s.Warnings); s.EndedBy == runpkg.EndedWriter && n > 0 {
		return exit.Errorf(code, "%w (ended by: %s: %s)", err, s.EndedBy, s.Warnings[n-1])
	}
	return exit.Errorf(code, "%w (ended by: %s)", err, s.EndedBy)
}
