package analysis_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	camera = "cam0"
	base   = "sluice." + camera
	// patience bounds every wait of these tests: whoever waits for longer waits for ever.
	patience = 20 * time.Second
)

// station is a camera's acquire as far as analysers see it: a real broker, slab, link and dispatcher. Frames are
// made by the test.
type station struct {
	t          testing.TB
	srv        *bustest.Server
	dir        string
	spec       run.Spec
	policy     link.Policy
	dispatcher *dispatch.Dispatcher
	slab       *slab.Slab
	budget     *backpressure.Budget
	results    chan *nats.Msg
	facts      chan dispatch.Fact
	// wrap, if not nil, is put between members and their links.
	wrap func(link.Receiver) link.Receiver
}

func newStation(t testing.TB, policy link.Policy, members int, spec run.Spec) *station {
	t.Helper()
	spec.Run, spec.Camera, spec.ShardFrames = frames.NewRunID(), camera, 1000
	spec.Codec, spec.Store = "none", "x.ome.zarr"
	s := &station{
		t: t, srv: bustest.Start(t), dir: t.TempDir(), spec: spec, policy: policy,
		results: make(chan *nats.Msg, 10_000), facts: make(chan dispatch.Fact, 1000),
	}
	transport := link.NATS(s.srv.Connect("acquire"))
	listener, err := link.Listen(link.ListenerConfig{
		Transport: transport, Base: base, Groups: []string{"analyze"}, Alive: shm.Alive(s.dir, camera), AlivePeriod: 20 * time.Millisecond,
		Timing: link.Timing{Heartbeat: 50 * time.Millisecond, Repeat: 50 * time.Millisecond}, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.dispatcher, err = dispatch.New(dispatch.Config{
		Listener: listener, Groups: []dispatch.Group{{Name: "analyze", Policy: policy, Required: members}},
		Connected: transport.Connected, JoinTimeout: patience, Reclaim: 50 * time.Millisecond, Logger: quiet(),
		Note: func(f dispatch.Fact) {
			select {
			case s.facts <- f:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, s.dispatcher.Serve)
	s.listen()
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// background runs f until the test ends, and waits for it.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// listen collects results, and stores the final ones as the primary writer does.
func (s *station) listen() {
	nc := s.srv.Connect("writer")
	for _, subject := range []string{base + ".spectrum.*", base + ".preview"} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
			if m.Reply != "" {
				if err := m.Respond(nil); err != nil {
					s.t.Error(err)
				}
			}
			select {
			case s.results <- m:
			default:
				s.t.Error("too many results")
			}
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		s.t.Fatal(err)
	}
}

// member is a running analyser.
type member struct {
	*analysis.Analyzer
	// kill ends it as a kill -9 does for the others: nothing more is said.
	kill func()
	over <-chan struct{} // closed when Run has returned
}

// join starts an analyser.
func (s *station) join(name string, change func(*analysis.Config)) member {
	s.t.Helper()
	nc := s.srv.Connect(name)
	cfg := analysis.Default()
	cfg.Camera, cfg.Member, cfg.Messenger = camera, name, analysis.NATS(nc, camera, name)
	cfg.Log = slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("member", name)
	cfg.Every, cfg.PreviewEvery = 200*time.Millisecond, 200*time.Millisecond
	if change != nil {
		change(&cfg)
	}
	a, err := analysis.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	presence, err := shm.Announce(s.t.Context(), s.dir, camera, name)
	if err != nil {
		s.t.Fatal(err)
	}
	receiver := link.NewMember(link.MemberConfig{
		Dialer: link.NewDialer(link.DialerConfig{
			Transport: link.NATS(nc), Base: base, Carrier: "shm", Health: a.Health,
			Timing: link.Timing{Heartbeat: 50 * time.Millisecond, Repeat: 50 * time.Millisecond},
		}),
		Carrier: shm.Carrier{Dir: s.dir}, Logger: quiet(),
		Join: link.Join{Group: "analyze", Name: name, PID: os.Getpid()},
	})
	over := make(chan struct{})
	kill := background(s.t, func(ctx context.Context) error {
		defer close(over)
		defer presence.Close()
		defer receiver.Close()
		if s.wrap != nil {
			return a.Run(ctx, s.wrap(receiver))
		}
		return a.Run(ctx, receiver)
	})
	return member{a, kill, over}
}

// arm makes the run and waits until every member is ready.
func (s *station) arm(slots, reserve int) {
	s.t.Helper()
	if err := s.tryArm(slots, reserve); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) tryArm(slots, reserve int) error {
	s.t.Helper()
	var err error
	s.slab, err = slab.Create(slab.Config{Dir: s.dir, Spec: s.spec, Slots: slots})
	if err != nil {
		s.t.Fatal(err)
	}
	pixels := s.slab
	s.t.Cleanup(func() {
		s.dispatcher.CloseRun()
		pixels.Close()
	})
	stride := int64(s.slab.Stride())
	s.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(slots-reserve) * stride})
	if err != nil {
		s.t.Fatal(err)
	}
	latest, err := backpressure.NewBudget(backpressure.Config{Limit: max(1, int64(reserve)*stride)})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	return s.dispatcher.Arm(ctx, dispatch.RunConfig{Slab: s.slab, Budget: s.budget, Reserve: latest})
}

// capture offers a frame whose pixels are the pattern wave's, taken at the given device time.
func (s *station) capture(seq uint64, deviceNS int64, w wave) {
	s.t.Helper()
	s.offer(seq, deviceNS, func(dst []byte) { w.draw(dst, s.spec.Geometry, float64(deviceNS)/1e9) })
}

// offer offers a frame that draw fills.
func (s *station) offer(seq uint64, deviceNS int64, draw func([]byte)) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.budget.Acquire(ctx, int64(s.slab.Stride())); err != nil {
		s.t.Fatalf("frame %d: %v", seq, err)
	}
	slot, ok := s.slab.Take()
	if !ok {
		s.t.Fatalf("frame %d: no slot is free", seq)
	}
	draw(s.slab.Pixels(slot))
	h := frames.Header{
		Run: s.spec.Run, Seq: seq, FrameID: seq, DeviceNS: deviceNS, HostNS: time.Now().UnixNano(), Geometry: s.spec.Geometry,
	}
	s.dispatcher.Offer(slot, s.slab.Commit(slot, h, s.dispatcher.Mask()))
}

// settle waits until every frame offered so far is released.
func (s *station) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	all := s.budget.Gauge().Limit
	if err := s.budget.Acquire(ctx, all); err != nil {
		s.t.Fatalf("frames are held: %v", err)
	}
	if err := s.budget.Release(all); err != nil {
		s.t.Fatal(err)
	}
}

// drain ends the run and waits until everything is released.
func (s *station) drain() {
	s.t.Helper()
	s.dispatcher.End()
	select {
	case <-s.dispatcher.Drained():
	case <-time.After(patience):
		s.t.Fatal("the run does not drain")
	}
}

// wave is the sim camera's pattern: mean·(1 + at·sin(2π·hz·t) + as·sin(2π(kx·x/width + ky·y/height))).
type wave struct {
	mean, at, hz, as float64
	ky, kx           int
}

func (w wave) draw(dst []byte, g frames.Geometry, t float64) {
	inTime := 1 + w.at*math.Sin(2*math.Pi*w.hz*t)
	for i := range g.Height * g.Width {
		y, x := i/g.Width, i%g.Width
		phase := float64(w.kx*x)/float64(g.Width) + float64(w.ky*y)/float64(g.Height)
		v := math.Round(w.mean * (inTime + w.as*math.Sin(2*math.Pi*phase)))
		if g.Dtype == frames.Uint16 {
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(max(0, min(65535, v))))
		} else {
			dst[i] = uint8(max(0, min(255, v)))
		}
	}
}

// final waits for the final temporal spectrum and returns it with all other results.
func (s *station) final() (analysis.Temporal, []*nats.Msg) {
	s.t.Helper()
	var all []*nats.Msg
	timeout := time.After(patience)
	for {
		select {
		case m := <-s.results:
			if m.Subject != base+".spectrum.temporal" {
				all = append(all, m)
				continue
			}
			var r analysis.Temporal
			decode(s.t, m, bus.Type("spectrum.temporal"), s.spec.Run, &r)
			if r.Final {
				return r, all
			}
			all = append(all, m)
		case <-timeout:
			s.t.Fatal("no final result")
		}
	}
}

// decode reads a result and checks its envelope.
func decode(t testing.TB, m *nats.Msg, typ bus.Type, id frames.RunID, into bus.Message) {
	t.Helper()
	if err := json.Unmarshal(m.Data, into); err != nil {
		t.Fatalf("%s: %v", m.Subject, err)
	}
	e := *into.Head()
	if e.V != 1 || e.Type != typ || e.Camera != camera || e.Run != id || e.Process == "" || e.Time.IsZero() {
		t.Errorf("%s: envelope %+v", m.Subject, e)
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %v, want %v within %v", what, got, want, tolerance)
	}
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("analyze-%d", i)
	}
	return list
}
