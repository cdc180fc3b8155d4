package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/camera/source"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestMain lets the test binary be the acquire that is killed.
func TestMain(m *testing.M) {
	if spec := os.Getenv(victimEnv); spec != "" {
		if err := victim(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// acquire is all that cmd/acquire wires, in this process.
type acquire struct {
	*Controller
	serving *errgroup.Group
	stop    context.CancelFunc // what serves the run
	service *bus.Service
}

// setup says what an acquire is.
type setup struct {
	Dir      string
	Args     []string // acquire's own flags
	Restarts int
	Continue bool
	Required int // writers
	Join     time.Duration
}

// options are a command line's.
func options(args ...string) (config.Capture, error) {
	var cli struct{ config.Capture }
	_, err := config.Parse(config.Program{Name: "acquire", CLI: &cli, Args: args, Stdout: io.Discard, Getenv: func(string) string { return "" }})
	return cli.Capture, err
}

func newAcquire(nc *nats.Conn, s setup, open func(context.Context, string) (camera.Camera, error)) (*acquire, error) {
	opts, err := options(s.Args...)
	if err != nil {
		return nil, err
	}
	if s.Join == 0 {
		s.Join = dispatchtest.Patience
	}
	groups := []dispatch.Group{
		{Name: "writer", Policy: link.Lossless, Sharded: true, Required: s.Required},
		{Name: "analyze", Policy: link.Policy(opts.AnalyzePolicy)},
	}
	logger := slog.New(slog.DiscardHandler)
	transport := link.NATS(nc)
	listener, err := link.Listen(link.ListenerConfig{
		Transport: transport, Base: "sluice.cam0", Timing: dispatchtest.Timing, Groups: []string{"writer", "analyze"},
		Alive: shm.Alive(s.Dir, "cam0"), AlivePeriod: 10 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	publisher := bus.NewPublisher(nc, "cam0", "acquire")
	herald := NewHerald(publisher, logger)
	dispatcher, err := dispatch.New(dispatch.Config{
		Listener: listener, Groups: groups, Connected: transport.Connected, JoinTimeout: s.Join, Reclaim: 100 * time.Millisecond,
		Note: herald.Note, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	herald.LogTo(dispatcher.Event)
	a := &acquire{Controller: New(Config{
		Camera: "cam0", Defaults: opts, ShmDir: s.Dir, Dispatcher: dispatcher, Publisher: publisher, Herald: herald, Open: open,
		Logger: logger, Restarts: s.Restarts, Heartbeat: dispatchtest.Timing.Heartbeat, Continue: s.Continue, Host: "h",
	})}
	var serving context.Context
	serving, a.stop = context.WithCancel(context.Background())
	a.serving, serving = errgroup.WithContext(serving)
	a.serving.Go(func() error { return dispatcher.Serve(serving) })
	a.serving.Go(func() error { herald.Run(serving); return nil })
	if a.service, err = bus.ServeControl(serving, nc, publisher, a.Controller, nil); err != nil {
		a.stop()
		return nil, errors.Join(err, a.serving.Wait())
	}
	return a, nil
}

// close ends what serves the run.
func (a *acquire) close() error {
	err := a.service.Close()
	a.stop()
	return errors.Join(err, a.serving.Wait())
}

// station is an acquire with a real broker around it, and what it publishes.
type station struct {
	*acquire
	t      *testing.T
	srv    *bustest.Server
	dir    string
	nc     *nats.Conn
	client *bus.Client
	disk   *dispatchtest.Disk
	fakes  chan *cameratest.Fake // that the next armings open
	check  func(frames.Offer, []byte) bool
	end    func()        // asks acquire to end
	hard   func()        // insists
	ended  chan struct{} // closed when it has
	down   func()        // ends acquire and waits

	mu           sync.Mutex
	events       []bus.Event
	backpressure []bus.Backpressure
	statuses     []bus.Status
}

// newStation starts a broker and the watchers of its subjects. Frames of a shard: 4.
func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{
		t: t, srv: bustest.Start(t), dir: dispatchtest.ShmDir(t), disk: dispatchtest.NewDisk(4), fakes: make(chan *cameratest.Fake, 8), check: fakePixels,
	}
	s.nc = s.srv.Connect("watcher")
	s.client = bus.NewClient(s.nc, "cam0")
	watch(s, bus.EventsSubject("cam0"), &s.events)
	watch(s, bus.BackpressureSubject("cam0"), &s.backpressure)
	watch(s, bus.StatusSubject("cam0"), &s.statuses)
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

func watch[M any](s *station, subject string, list *[]M) {
	if _, err := s.nc.Subscribe(subject, func(m *nats.Msg) {
		var v M
		if err := json.Unmarshal(m.Data, &v); err != nil {
			s.t.Errorf("%s: %v", subject, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		*list = append(*list, v)
	}); err != nil {
		s.t.Fatal(err)
	}
}

// start starts acquire with flags. Sources are "fake:" for the next of s.fakes, or sim.
func (s *station) start(args ...string) {
	s.t.Helper()
	s.startWith(setup{Args: args})
}

func (s *station) startWith(c setup) {
	s.t.Helper()
	c.Dir = s.dir
	if c.Required == 0 {
		c.Required = 1
	}
	c.Args = append([]string{"--shard-frames=4"}, c.Args...)
	var err error
	if s.acquire, err = newAcquire(s.srv.Connect("acquire"), c, s.open); err != nil {
		s.t.Fatal(err)
	}
	a := s.acquire
	ctx, end := context.WithCancel(context.Background())
	hard := make(chan struct{})
	s.end, s.hard, s.ended = end, sync.OnceFunc(func() { close(hard) }), make(chan struct{})
	ended := s.ended
	go func() {
		defer close(ended)
		if err := a.Run(ctx, hard); err != nil {
			s.t.Error(err)
		}
	}()
	cut := s.hard
	s.down = sync.OnceFunc(func() {
		end()
		select {
		case <-ended:
		case <-time.After(dispatchtest.Patience):
			s.t.Error("acquire does not end")
			cut()
			<-ended
		}
		if err := a.close(); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(s.down)
}

func (s *station) open(ctx context.Context, uri string) (camera.Camera, error) {
	if uri != "fake:" {
		return source.Open(ctx, uri, source.Options{})
	}
	select {
	case f := <-s.fakes:
		return f.Camera(), nil
	default:
		return nil, fmt.Errorf("%w: there is no fake", camera.ErrSource)
	}
}

// fakePixels reports whether a frame has the pixels of a cameratest.Fake whose n-th frame has the id n.
func fakePixels(o frames.Offer, pixels []byte) bool {
	want := make([]byte, len(pixels))
	cameratest.Pixels(want, o.FrameID)
	return bytes.Equal(want, pixels)
}

// anyPixels is for fakes whose pixels are numbered otherwise.
func anyPixels(frames.Offer, []byte) bool { return true }

// fake makes the camera of the next arming.
func (s *station) fake(script cameratest.Script) *cameratest.Fake {
	f := cameratest.NewFake(script)
	s.fakes <- f
	return f
}

func (s *station) writer(name string, hold bool) *dispatchtest.Consumer {
	s.t.Helper()
	return dispatchtest.Join(s.t, dispatchtest.Config{
		Transport: link.NATS(s.srv.Connect(name)), Camera: "cam0", Dir: s.dir, Group: "writer", Name: name, Disk: s.disk, Hold: hold, Check: s.check,
	})
}

// begin arms acquire's own run and starts it.
func (s *station) begin() {
	s.t.Helper()
	if _, err := s.client.Start(s.t.Context(), bus.RunRequest{}); err != nil {
		s.t.Fatal(err)
	}
}

// wait waits for the run's end and checks that every frame is accounted for.
func (s *station) wait() run.Summary {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), dispatchtest.Patience)
	defer cancel()
	sum, err := s.Wait(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if sum.Written+sum.Lost != sum.Captured {
		s.t.Errorf("%d written and %d lost of %d", sum.Written, sum.Lost, sum.Captured)
	}
	if err := s.disk.Audit(sum.Captured); err != nil {
		s.t.Error(err)
	}
	if left, err := slab.List(s.dir); err != nil || len(left) != 0 {
		s.t.Errorf("slabs are left: %+v, %v", left, err)
	}
	return *sum
}

// expect checks how a run ended.
func (s *station) expect(sum run.Summary, endedBy string, captured, written uint64, code int) {
	s.t.Helper()
	if sum.EndedBy != endedBy || sum.Captured != captured || sum.Written != written || sum.Lost != captured-written || bus.ExitCode(sum) != code {
		s.t.Errorf("ended by %q with %d of %d frames written, %d lost, exit code %d; want %q, %d of %d, code %d; warnings %q",
			sum.EndedBy, sum.Written, sum.Captured, sum.Lost, bus.ExitCode(sum), endedBy, written, captured, code, sum.Warnings)
	}
}

func (s *station) until(what string, ok func() bool) {
	s.t.Helper()
	dispatchtest.Until(s.t, what, ok)
}

// told are the events of some kinds so far.
func (s *station) told(kinds ...bus.Kind) []bus.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []bus.Event
	for _, e := range s.events {
		if slices.Contains(kinds, e.Kind) {
			list = append(list, e)
		}
	}
	return list
}

// await waits for the n-th event of a kind.
func (s *station) await(kind bus.Kind, n int) bus.Event {
	s.t.Helper()
	s.until(string(kind)+" is told", func() bool { return len(s.told(kind)) >= n })
	return s.told(kind)[n-1]
}

// inState waits for a state.
func (s *station) inState(state bus.State) bus.Status {
	s.t.Helper()
	var st bus.Status
	s.until("the state is "+string(state), func() bool {
		st, _ = s.Status(s.t.Context(), bus.RunRequest{})
		return st.State == state
	})
	return st
}

// losses are the ranges that writers were told of, joined where they follow each other.
func losses(ws ...*dispatchtest.Consumer) []frames.Loss {
	var list []frames.Loss
	for _, w := range ws {
		for _, seen := range w.Seen(frames.KindLosses) {
			list = append(list, seen.Loss)
		}
	}
	slices.SortFunc(list, func(a, b frames.Loss) int { return int(a.Seq) - int(b.Seq) })
	var joined []frames.Loss
	for _, l := range list {
		l.FirstNS, l.LastNS = 0, 0
		if n := len(joined); n > 0 && l.Follows(joined[n-1]) {
			joined[n-1] = l.Join(joined[n-1])
		} else {
			joined = append(joined, l)
		}
	}
	return joined
}

func loss(seq, n, id uint64, why frames.State, stage frames.Stage) frames.Loss {
	return frames.Loss{Seq: seq, Count: n, FirstFrameID: id, LastFrameID: id + n - 1, Reason: why, Stage: stage}
}

func wantCode(t *testing.T, err error, code int, text string) {
	t.Helper()
	if err == nil || exit.Code(err) != code || !bytes.Contains([]byte(err.Error()), []byte(text)) {
		t.Errorf("error %v with code %d, want %q with code %d", err, exit.Code(err), text, code)
	}
}

func contains(s, part string) bool { return strings.Contains(s, part) }

// viewer is an analyser that keeps what it gets.
func (s *station) viewer(name string) *dispatchtest.Consumer {
	s.t.Helper()
	c := dispatchtest.Join(s.t, dispatchtest.Config{
		Transport: link.NATS(s.srv.Connect(name)), Camera: "cam0", Dir: s.dir, Group: "analyze", Name: name, Hold: true, Check: s.check,
	})
	s.until("it joins", func() bool {
		return slices.ContainsFunc(s.cfg.Dispatcher.Members(), func(m dispatch.MemberAccount) bool { return m.Name == name })
	})
	return c
}
