package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/interrupt"
	"github.com/sluicedaq/sluice/internal/metrics"
	"github.com/sluicedaq/sluice/internal/monitor"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// runCmd records one run:
//
//	           ┌── broker ◀──────── all, over NATS ───────┐
//	sluice run ├── writer ×N, analyze ×M                  │
//	           └── acquire ◀─ arm, start, status, stop ── sluice run ──▶ progress, summary
//
// The children are in process groups of their own: an interrupt reaches this process alone, which then has acquire
// stop and drain. A child that dies is started again; a restarted acquire goes on with its run by itself.
type runCmd struct {
	config.Run

	began func(bus.Armed) error // told of each run that has begun; may be nil
}

// The times of a run.
const (
	askTime    = 3 * time.Second  // for one answer of acquire, before it is asked again
	readyTime  = 20 * time.Second // for a child to be there, connection times not counted
	plainEvery = 2 * time.Second  // between status lines where there is no terminal
	logEvery   = time.Minute      // between those in a log
	stopTime   = 10 * time.Second // for a child that has nothing left to do
	// membersTime is for members, which stay a while for an acquire that may come back.
	membersTime = stopTime + 5*time.Second
	printTime   = 10 * time.Second // for the summary, where somebody else reads slowly
	hardTime    = 5 * time.Second  // for everything once a second interrupt came
)

// How a run ends before it has frames.
var (
	errStopped = errors.New("interrupted before the run began")
	errNothing = errors.New("acquire died before the run had a frame")
)

func (r *runCmd) run(ctx context.Context, p *process) error {
	interrupt.Outlive()
	b, err := newBackground(p, string(r.Camera.Camera))
	if err != nil {
		return err
	}
	if err := r.prepare(p); err != nil {
		if b != nil {
			return b.end(nil, err)
		}
		return err
	}
	every := plainEvery
	if b != nil {
		p.stdout, p.stderr, every = b.log, b.log, logEvery
	} else if r.Detach {
		return r.detach(ctx, p)
	}
	screen := monitor.Open(p.stderr, every)
	if b != nil {
		screen = b.screen(screen)
		r.began = b.started
	}
	summary, err := r.record(ctx, p, screen)
	screen.Close()
	if summary != nil {
		r.print(p, *summary)
		if err == nil {
			err = outcome(*summary)
		}
	}
	if b != nil {
		return b.end(summary, err)
	}
	return err
}

// print prints how the run ended.
func (r *runCmd) print(p *process, summary runpkg.Summary) {
	out := monitor.NewOutput(p.stdout, printTime)
	defer out.Close()
	if !r.JSON {
		printSummary(out, summary)
	} else if err := printJSON(out, summary); err != nil {
		p.log.Warn("nobody takes the summary", "error", err) // the store has it too
	}
}

// prepare refuses early what can be refused, and makes the folder for the store.
func (r *runCmd) prepare(p *process) error {
	root, store := config.SplitOut(r.Out)
	if store != "" {
		if r.Store != "" && r.Store != store {
			return exit.Errorf(exit.Usage, "--store %s and --out %s name two stores", r.Store, r.Out)
		}
		r.Store = store
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return exit.Errorf(exit.Usage, "--out: %w", err)
	}
	// Not its parents: a disk that is not mounted must not become a folder of the root file system.
	if err := os.Mkdir(root, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return exit.Errorf(exit.Usage, "--out: %w", err)
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return exit.Errorf(exit.Usage, "--out: %s is not a folder", root)
	}
	if r.Store != "" {
		if _, err := os.Lstat(filepath.Join(root, r.Store)); err == nil {
			return exit.Errorf(exit.Usage, "--out: the store %s exists already: a store is never overwritten", filepath.Join(root, r.Store))
		}
	}
	r.Out = root
	r.NATSFile = "" // of another run, from `sluice env`
	if r.NATS.NATS == "" {
		dir, err := broker.Dir(p.getenv)
		if err != nil {
			return &exit.Error{Code: exit.Usage, Err: err}
		}
		live, err := broker.At(dir, string(r.Camera.Camera)).Live()
		if err != nil {
			return err
		}
		if live {
			return exit.Errorf(exit.Usage, "%w: %s; see sluice ctl %s status", broker.ErrHeld, r.Camera.Camera, r.Camera.Camera)
		}
	}
	return nil
}

// record starts everything, has the run done and stops everything. The summary is nil where there was no run.
func (r *runCmd) record(ctx context.Context, p *process, screen monitor.Screen) (summary *runpkg.Summary, err error) {
	board := metrics.NewBoard(string(r.Camera.Camera), false)
	numbers, err := metrics.Start(ctx, r.Metrics.Metrics, board, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer numbers.Close()
	if numbers != nil {
		screen.Say("metrics at " + numbers.URL() + "/metrics")
	}
	crew, err := newCrew(r, p, screen)
	if err != nil {
		return nil, err
	}
	defer func() {
		if exit.Code(err) != exit.Usage || p.LogLevel == "debug" {
			crew.hold.release()
		}
		switch e := crew.dismiss(context.WithoutCancel(ctx), p.hard, summary); {
		case e != nil && summary != nil: // the run is over and its account stands
			summary.Warnings = append(summary.Warnings, strings.ReplaceAll(e.Error(), "\n", "; "))
		default:
			err = errors.Join(err, e)
		}
		crew.meter.close()
		if summary != nil {
			summary.Processes = crew.meter.processes(crew)
		}
	}()

	server, err := crew.broker(ctx)
	if err != nil {
		return nil, stopped(ctx, err)
	}
	nc, err := bus.Connect(ctx, bus.Options{NATS: server, Role: "operator", Process: "run", Log: crew.log})
	if err != nil {
		return nil, stopped(ctx, err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe(bus.StatusSubject(string(r.Camera.Camera)), func(m *nats.Msg) { board.Message(m.Data) }); err != nil {
		return nil, fmt.Errorf("following the status: %w", err)
	}
	client := bus.NewClient(nc, string(r.Camera.Camera))
	if err := vacant(ctx, client, string(r.Camera.Camera)); err != nil {
		return nil, stopped(ctx, err)
	}
	f, err := newFollower(nc, client, crew, screen)
	if err != nil {
		return nil, err
	}
	if err := crew.start(server); err != nil {
		return nil, err
	}
	for {
		armed, err := r.begin(ctx, client, crew)
		if err != nil {
			return nil, stopped(ctx, err)
		}
		if r.began != nil {
			if err := r.began(armed); err != nil {
				return nil, err
			}
		}
		summary, err := f.follow(ctx, p.hard, armed)
		if !errors.Is(err, errNothing) {
			return summary, err
		}
		if ctx.Err() != nil {
			return nil, stopped(ctx, err)
		}
		screen.Say(fmt.Sprintf("%v: it begins again, and there is nothing in %s", err, armed.Store))
	}
}

// begin arms a run with acquire's own flags, which are ours, and starts it, unless a child gives up meanwhile. An
// acquire that dies takes a run without frames with it; one with frames its next life goes on with.
// The run's id is chosen here, so that what the broker or acquire lost can be asked for again.
func (r *runCmd) begin(ctx context.Context, client *bus.Client, crew *crew) (armed bus.Armed, err error) {
	id := frames.NewRunID()
	err = crew.inOneLife(ctx, func(ctx context.Context) error {
		s, err := crew.ready(ctx, client, id)
		if err != nil {
			return err
		}
		if known := armed.Spec.Run == id; !known || !begun(s, id) && !waits(s, id) {
			if armed, err = r.arm(ctx, client, crew, id); err != nil {
				return err
			}
		}
		asking, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		if !begun(s, id) {
			_, err = client.Start(asking, bus.RunRequest{Run: id})
		}
		return err
	})
	return armed, err
}

// arm arms a run and tells what it will be. Where no answer comes it asks again, for the same run.
func (r *runCmd) arm(ctx context.Context, client *bus.Client, crew *crew, id frames.RunID) (armed bus.Armed, err error) {
	limit := r.MemberTimeout + r.DrainTimeout + readyTime // an unfinished run may be written first
	ctx, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Unavailable, "arming took longer than %s", limit))
	defer cancel()
	for asked := false; !asked; {
		asking, cancel := context.WithTimeout(ctx, askTime)
		armed, err = client.Arm(asking, bus.ArmRequest{Run: id})
		asked = asking.Err() == nil || err == nil
		cancel()
		if ctx.Err() != nil && err != nil {
			return bus.Armed{}, context.Cause(ctx)
		}
	}
	if err != nil {
		return bus.Armed{}, err
	}
	crew.hold.release()
	for _, line := range describe(armed) {
		crew.screen.Say(line)
	}
	return armed, nil
}

// vacant refuses a camera that somebody else's acquire serves on the same broker.
func vacant(ctx context.Context, client *bus.Client, camera string) error {
	s, err := client.Status(ctx, bus.RunRequest{})
	switch {
	case err == nil:
		return exit.Errorf(exit.Usage, "camera %s already has an acquire, process %d on host %s", camera, s.PID, s.Host)
	case errors.Is(err, bus.ErrNoAnswer):
		return nil
	}
	return err
}

// stopped replaces err by errStopped where an interrupt is its reason.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &exit.Error{Code: exit.Interrupted, Err: errStopped}
	}
	return err
}
