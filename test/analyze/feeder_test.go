package analyze

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// feeder is a camera's acquire as analysers see it, whose camera takes no time: its slots have their pixels from the
// beginning.
type feeder struct {
	t          testing.TB
	camera     string
	url        string
	dispatcher *dispatch.Dispatcher
	slab       *slab.Slab
	spec       run.Spec
	policy     link.Policy
	budget     *backpressure.Budget
	seq        uint64
}

// newFeeder makes a broker and a camera without members.
func newFeeder(t testing.TB, policy link.Policy, members int, g frames.Geometry) *feeder {
	t.Helper()
	f := &feeder{t: t, camera: "feed-" + strings.ToLower(rand.Text()[:8]), policy: policy}
	f.spec = run.Spec{
		Run: frames.NewRunID(), Camera: f.camera, ShardFrames: 1000, Codec: "none", Store: "x.ome.zarr", Geometry: g, FPS: 1000,
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	f.url = srv.ClientURL()
	closed := make(chan struct{})
	nc, err := nats.Connect(f.url, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	f.serve(nc, members)
	return f
}

func (f *feeder) serve(nc *nats.Conn, members int) {
	f.t.Helper()
	listener, err := link.Listen(link.ListenerConfig{
		Transport: link.NATS(nc), Base: "sluice." + f.camera, Groups: []string{"analyze"}, Alive: shm.Alive("/dev/shm", f.camera),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.dispatcher, err = dispatch.New(dispatch.Config{
		Listener: listener, Groups: []dispatch.Group{{Name: "analyze", Policy: f.policy, Required: members}},
		JoinTimeout: patience, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	// Whoever stores results answers the last one.
	if _, err := nc.Subscribe("sluice."+f.camera+".spectrum.temporal", func(m *nats.Msg) {
		if m.Reply != "" {
			_ = m.Respond(nil)
		}
	}); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var work sync.WaitGroup
	work.Go(func() {
		if err := f.dispatcher.Serve(ctx); err != nil && ctx.Err() == nil {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(func() { cancel(); work.Wait() })
}

// start starts an analyser, behind a command such as taskset, and returns its process. It ends with the test.
func (f *feeder) start(name string, before []string, args ...string) *os.Process {
	f.t.Helper()
	argv := append(append([]string{}, before...), filepath.Join(bin.Dir, "analyze"), "--nats", f.url, "--camera", f.camera, "--name", name)
	cmd := exec.Command(argv[0], append(argv[1:], args...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			f.t.Error(err)
		}
		if err := cmd.Wait(); err != nil || f.t.Failed() {
			f.t.Errorf("%s: %v\n%s", name, err, &log)
		}
		os.Remove(filepath.Join(slab.UserDir("/dev/shm"), f.camera+"."+name+".member"))
	})
	return cmd.Process
}

// arm makes the slab, fills it with noise and waits for the members.
func (f *feeder) arm(slots, reserve int) {
	f.t.Helper()
	var err error
	if f.slab, err = slab.Create(slab.Config{Dir: "/dev/shm", Spec: f.spec, Slots: slots}); err != nil {
		f.t.Fatal(err)
	}
	pixels := f.slab
	f.t.Cleanup(func() {
		f.dispatcher.CloseRun()
		if err := pixels.Remove(); err != nil {
			f.t.Error(err)
		}
		pixels.Close()
	})
	r := mrand.New(mrand.NewPCG(1, 1))
	for slot := range slots {
		p := pixels.Pixels(slot)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
	}
	stride := int64(f.slab.Stride())
	if f.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(slots-reserve) * stride}); err != nil {
		f.t.Fatal(err)
	}
	spare, err := backpressure.NewBudget(backpressure.Config{Limit: max(1, int64(reserve)*stride)})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := f.dispatcher.Arm(ctx, dispatch.RunConfig{Slab: f.slab, Budget: f.budget, Reserve: spare}); err != nil {
		f.t.Fatal(err)
	}
}

// offer offers n frames, each as soon as there is a slot.
func (f *feeder) offer(n int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	for range n {
		if err := f.budget.Acquire(ctx, int64(f.slab.Stride())); err != nil {
			f.t.Fatalf("frame %d: %v", f.seq, err)
		}
		slot, ok := f.slab.Take()
		if !ok {
			f.t.Fatalf("frame %d: no slot is free", f.seq)
		}
		h := frames.Header{
			Run: f.spec.Run, Seq: f.seq, FrameID: f.seq, DeviceNS: int64(f.seq) * 1_000_000, HostNS: f.slab.Clock().Now(), Geometry: f.spec.Geometry,
		}
		f.dispatcher.Offer(slot, f.slab.Commit(slot, h, f.dispatcher.Mask()))
		f.seq++
	}
}

// settle waits until every frame is back.
func (f *feeder) settle() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	all := f.budget.Gauge().Limit
	if err := f.budget.Acquire(ctx, all); err != nil {
		f.t.Fatalf("frames are held: %v", err)
	}
	if err := f.budget.Release(all); err != nil {
		f.t.Fatal(err)
	}
}

// released is how many frames the analysers have given back.
func (f *feeder) released() uint64 { return f.dispatcher.Account().Released["analyze"] }

// drain ends the run.
func (f *feeder) drain() {
	f.t.Helper()
	f.dispatcher.End()
	select {
	case <-f.dispatcher.Drained():
	case <-time.After(patience):
		f.t.Fatal("the run does not drain")
	}
	f.dispatcher.CloseRun()
}
