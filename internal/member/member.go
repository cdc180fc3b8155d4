package member

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/metrics"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/supervise"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// shmDir is the memory file system that slabs lie in.
	shmDir = "/dev/shm"
	// nameTime is how long a member's name may be held by a process that has just died.
	nameTime  = 5 * time.Second
	flushTime = 2 * time.Second
)

// Config is what a member's process needs to be one.
type Config struct {
	Group  string
	Camera string
	Name   string
	NATS   config.NATS
	// Way is how pixels come, Receive the memory for those that come through JetStream.
	Way       config.Way
	Receive   config.ByteSize
	Heartbeat time.Duration
	Restarts  int // how often a supervisor has started this process again
	// Silence is how long a process that shall go waits for an acquire that says nothing any more (default 10 s, at least
	// five heartbeats): it may have gone without a word, or the word was lost.
	Silence time.Duration
	Logger  *slog.Logger
	// Refusals takes down what the process does not take from others, for the status.
	Refusals *refusal.Book
	Metrics  config.Metrics
}

// Work is what a member does with its frames. All functions but Run may be called at any time, by several goroutines.
type Work struct {
	// Run works for the group's link until ctx ends or it was asked to leave.
	Run func(ctx context.Context, rx link.Receiver) error
	// Leave is called when the process shall go: orphaned says that this is because its supervisor died, after which it may
	// be called once more because somebody asks. acquire is told then, and closes the run for the member once others have
	// all that it had.
	Leave func(orphaned bool)
	// Abandon is called when a process that shall go has heard nothing from acquire for as long as Silence, more than once. nil ends Run's context.
	Abandon func()
	// Health is what heartbeats say, and the status.
	Health func() link.Health
	// Claims lists what is still held when the member joins again; nil for nothing.
	Claims func() (frames.RunID, []link.Claim)
	// Status returns the run that the status is of, zero for none, and adds what only this group's status has. It may
	// be nil.
	Status func(h link.Health, s *bus.MemberStatus) frames.RunID
}

// Run connects a process to the broker and has it work for its group until the work is done:
//
//	acquire ──▶ link.Member ──▶ Work
//	  slab ◀── read-only ────────┘
//
// prepare makes the work once the broker is there. When ctx ends, or the supervisor that getenv's variables tell of
// dies, the work is asked to leave. hard, when closed, ends it at once. An error that is the user's to mend has the exit
// code Usage, such as a name that another process has.
func Run(ctx context.Context, hard <-chan struct{}, getenv func(string) string, cfg Config, prepare func(*nats.Conn) (Work, error)) error {
	asked := ctx
	ctx, unwatch, err := supervise.WatchParent(ctx, getenv)
	if err != nil {
		return err
	}
	defer unwatch()
	board := metrics.NewBoard(cfg.Camera, true)
	numbers, err := metrics.Start(ctx, cfg.Metrics.Metrics, board, cfg.Logger)
	if err != nil {
		return err
	}
	defer numbers.Close()
	nc, err := bus.Connect(ctx, bus.Options{NATS: cfg.NATS, Role: cfg.Group, Process: cfg.Name, Log: cfg.Logger, Refusals: cfg.Refusals})
	if err != nil {
		return err
	}
	defer nc.Close()
	work, err := prepare(nc)
	if err != nil {
		return err
	}
	err = serve(ctx, asked, hard, cfg, nc, board, work)
	if nc.IsConnected() {
		// The last messages get a moment to leave; a broker that goes first is no failure of ours.
		if e := nc.FlushTimeout(flushTime); e != nil {
			cfg.Logger.Debug("the last messages may be lost", "error", e)
		}
	}
	return err
}

// serve works on runs until the work is done.
func serve(ctx, asked context.Context, hard <-chan struct{}, cfg Config, nc *nats.Conn, board *metrics.Board, work Work) error {
	presence, err := announce(ctx, cfg.Camera, cfg.Name)
	if err != nil {
		return err
	}
	defer presence.Close()
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host's name: %w", err)
	}
	var leaving atomic.Bool
	health := func() link.Health {
		h := work.Health()
		h.Leaving = leaving.Load()
		return h
	}
	m := link.NewMember(link.MemberConfig{ //nolint:contextcheck // a membership lives until its Close
		Dialer: link.NewDialer(link.DialerConfig{
			Transport: link.NATS(nc), Base: "sluice." + cfg.Camera, Timing: link.Timing{Heartbeat: cfg.Heartbeat},
			Health: health, Refusals: cfg.Refusals,
		}),
		Carrier: cfg.carrier(),
		Join:    link.Join{Group: cfg.Group, Name: cfg.Name, PID: os.Getpid(), Host: host, Nonce: rand.Text(), Restarts: cfg.Restarts},
		Claims:  work.Claims,
		Camera:  cfg.Camera, Refusals: cfg.Refusals, Logger: cfg.Logger,
	})
	defer func() {
		if err := m.Close(); err != nil {
			cfg.Logger.Warn("leaving the group", "error", err)
		}
	}()
	board.Watch(func() string {
		why := bus.Ails(nc)
		if heard := m.Heard(); why == "" && !heard.IsZero() && time.Since(heard) > cfg.silence() {
			why = "nothing is heard of acquire"
		}
		return why
	})

	// The work outlives the wish to stop: it says itself when it is done.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	service, err := bus.Serve(working, nc, cfg.Group, cfg.Camera, cfg.Name)
	if err != nil {
		return exit.Errorf(exit.Unavailable, "registering the service: %w", err)
	}
	defer service.Close()
	g, working := errgroup.WithContext(working)
	g.Go(func() error {
		defer stop()
		return work.Run(working, m)
	})
	g.Go(func() error { depart(ctx, asked, working, hard, stop, work, &leaving, m, cfg.silence()); return nil })
	g.Go(func() error {
		status{bus.NewPublisher(nc, cfg.Camera, cfg.Name), board, cfg, work, m}.run(working)
		return nil
	})
	err = g.Wait()
	if errors.Is(err, link.ErrRefused) {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	return err
}

func (c Config) silence() time.Duration {
	const beats = 5 // of which one at least arrives
	silence := c.Silence
	if silence == 0 {
		silence = 10 * time.Second
	}
	return max(silence, beats*c.Heartbeat)
}

// announce takes the member's name.
func announce(ctx context.Context, camera, name string) (*shm.Presence, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	p, err := shm.Announce(ctx, shmDir, camera, name)
	if errors.Is(err, slab.ErrInUse) {
		return nil, &exit.Error{Code: exit.Usage, Err: err}
	}
	return p, err
}
