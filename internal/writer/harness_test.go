package writer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/internal/writer"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit bounds every wait of these tests.
const limit = 20 * time.Second

// host is acquire's side with a real broker, dispatcher and slab, and the writers beside it.
type host struct {
	t    *testing.T
	nats *bustest.Server
	shm  string
	root string
	spec run.Spec

	disp   *dispatch.Dispatcher
	slab   *slab.Slab
	budget *backpressure.Budget
	next   uint64
	facts  chan dispatch.Fact

	sum      func(seq uint64, pixels []byte) uint32 // the camera's checksum, nil where it makes none
	required int
	crash    func() // ends acquire's end of the link without a word to the run
}

func testSpec() run.Spec {
	return run.Spec{
		Run: frames.NewRunID(), Camera: "cam0",
		Geometry: frames.Geometry{Height: 64, Width: 63, Channels: 1, Dtype: frames.Uint16},
		FPS:      100, ShardFrames: 8, Store: "run.ome.zarr", Codec: "none",
	}
}

// newHost starts acquire's side, for as many writers as required.
func newHost(t *testing.T, spec run.Spec, required int) *host {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "writer-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, nats: bustest.Start(t), shm: dir, root: t.TempDir(), spec: spec, facts: make(chan dispatch.Fact, 1000)}
	h.required = required
	h.serve()
	return h
}

// serve starts acquire's end of the link.
func (h *host) serve() {
	h.t.Helper()
	transport := link.NATS(h.nats.Connect("acquire"))
	listener, err := link.Listen(link.ListenerConfig{
		Transport: transport, Base: "sluice.cam0", Timing: quick(), Groups: []string{"writer"},
		Alive: shm.Alive(h.shm, "cam0"), AlivePeriod: 20 * time.Millisecond,
	})
	h.must(err)
	h.disp, err = dispatch.New(dispatch.Config{
		Listener: listener, Groups: []dispatch.Group{{Name: "writer", Policy: link.Lossless, Sharded: true, Required: h.required}},
		Connected: transport.Connected, JoinTimeout: limit, Logger: logger(h.t),
		Note: func(f dispatch.Fact) {
			select {
			case h.facts <- f:
			default:
			}
		},
	})
	h.must(err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func(d *dispatch.Dispatcher) { served <- d.Serve(ctx) }(h.disp)
	h.crash = sync.OnceFunc(func() {
		stop()
		if err := <-served; err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(h.crash)
}

func quick() link.Timing {
	return link.Timing{Heartbeat: 50 * time.Millisecond, Repeat: 30 * time.Millisecond, Confirm: 5 * time.Millisecond}
}

// logger writes to the test's log.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type logTo struct{ t *testing.T }

func (l logTo) Write(b []byte) (int, error) {
	l.t.Logf("%s", b[:max(len(b)-1, 0)])
	return len(b), nil
}

// newSlab makes a slab for the host's run.
func (h *host) newSlab(slots int) {
	h.t.Helper()
	var err error
	if h.slab, err = slab.Create(slab.Config{Dir: h.shm, Spec: h.spec, Slots: slots}); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		h.disp.CloseRun() // nobody reads the slab after it
		h.slab.Close()
	})
	h.newBudget()
	h.next = 0
}

func (h *host) newBudget() {
	h.t.Helper()
	var err error
	if h.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(h.slab.Slots() * h.slab.Stride())}); err != nil {
		h.t.Fatal(err)
	}
}

// arm makes a slab and arms the run.
func (h *host) arm(slots int) error {
	h.t.Helper()
	h.newSlab(slots)
	return h.armWith(dispatch.RunConfig{})
}

func (h *host) armWith(c dispatch.RunConfig) error {
	h.t.Helper()
	reserve, err := backpressure.NewBudget(backpressure.Config{Limit: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	c.Slab, c.Budget, c.Reserve = h.slab, h.budget, reserve
	return h.disp.Arm(h.t.Context(), c)
}

// must fails the test on an error.
func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// hash fills b with the pattern "hash" of frame seq, seed 7.
func hash(b []byte, seq uint64) {
	for w := range uint64(len(b)+7) / 8 {
		z := 7 ^ seq*0x9E3779B97F4A7C15 ^ w*0xD1B54A32D192ED03
		z += 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		copy(b[8*w:], word[:])
	}
}

// capture makes n frames, each when the budget has room for it.
func (h *host) capture(n int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), limit)
	defer cancel()
	for range n {
		h.must(h.budget.Acquire(ctx, int64(h.slab.Stride())))
		slot, ok := h.slab.Take()
		if !ok {
			h.t.Fatal("the budget grants a frame and no slot is free")
		}
		hash(h.slab.Pixels(slot), h.next)
		hd := frames.Header{
			Run: h.spec.Run, Seq: h.next, FrameID: h.next + 10, DeviceNS: int64(h.next), HostNS: time.Now().UnixNano(), Geometry: h.spec.Geometry,
		}
		if h.sum != nil {
			hd.Checksum = h.sum(h.next, h.slab.Pixels(slot))
		}
		rec := h.slab.Commit(slot, hd, h.disp.Mask())
		h.next++
		h.disp.Offer(slot, rec)
	}
}

// lose makes n frames that never came into the slab.
func (h *host) lose(n uint64) {
	h.t.Helper()
	_, err := h.disp.Lose(frames.Loss{
		Seq: h.next, Count: n, FirstFrameID: h.next + 10, LastFrameID: h.next + 9 + n, FirstNS: 1, LastNS: 2,
		Reason: frames.Dropped, Stage: frames.AtAcquire,
	})
	h.must(err)
	h.next += n
}

// finish drains and completes the run.
func (h *host) finish() run.Summary {
	h.t.Helper()
	h.disp.End()
	select {
	case <-h.disp.Drained():
	case <-time.After(limit):
		h.t.Fatalf("the run does not drain: %+v", h.disp.Account())
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), limit)
	defer cancel()
	sum, err := h.disp.Finish(ctx, run.Summary{Captured: h.slab.Captured(), Dtype: h.spec.Geometry.Dtype, EndedBy: run.EndedFrames})
	h.must(err)
	h.disp.CloseRun()
	h.must(h.slab.Remove())
	return sum
}

// check reads the store back, every byte, and has it verified.
func (h *host) check(captured uint64, lost map[uint64]bool) {
	h.t.Helper()
	path := filepath.Join(h.root, h.spec.Store)
	r, err := store.Verify(h.t.Context(), vfs.OS{}, path, store.VerifyOptions{})
	h.must(err)
	if !r.OK || r.Captured != captured || r.Lost != uint64(len(lost)) {
		h.t.Errorf("verify: %+v", r)
	}
	rd, err := store.OpenReader(vfs.OS{}, path)
	h.must(err)
	defer rd.Close()
	want := make([]byte, h.spec.Geometry.FrameBytes())
	for seq := range captured {
		got, err := rd.Frame(nil, seq)
		h.must(err)
		clear(want)
		if !lost[seq] {
			hash(want, seq)
		}
		if !bytes.Equal(got, want) {
			h.t.Errorf("frame %d has other bytes than were captured", seq)
		}
	}
}

// process is one writer.
type process struct {
	*writer.Writer
	stop  context.CancelFunc
	leave func()
	done  chan struct{}
	err   error // after done
	wait  func()
}

// start starts a writer as its process would be.
func (h *host) start(name string, with ...func(*writer.Config)) *process {
	h.t.Helper()
	presence, err := shm.Announce(h.t.Context(), h.shm, "cam0", name)
	h.must(err)
	leave := make(chan struct{})
	cfg := writer.Config{Root: h.root, Name: name, Logger: logger(h.t), Leave: leave}
	for _, w := range with {
		w(&cfg)
	}
	w, err := writer.New(cfg)
	h.must(err)
	member := link.NewMember(link.MemberConfig{
		Dialer: link.NewDialer(link.DialerConfig{
			Transport: link.NATS(h.nats.Connect(name)), Base: "sluice.cam0", Timing: quick(), Carrier: "shm", Health: w.Health,
		}),
		Carrier: shm.Carrier{Dir: h.shm}, Join: link.Join{Group: "writer", Name: name, PID: os.Getpid(), Nonce: frames.NewRunID().String()},
		Claims: w.Claims, Logger: logger(h.t),
	})
	ctx, stop := context.WithCancel(context.Background())
	p := &process{Writer: w, stop: stop, leave: sync.OnceFunc(func() { close(leave) }), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = w.Run(ctx, member)
	}()
	p.wait = sync.OnceFunc(func() {
		select {
		case <-p.done:
		case <-time.After(limit):
			h.t.Error("the writer does not end")
		}
		if p.err != nil {
			h.t.Error(p.err)
		}
		if err := member.Close(); err != nil {
			h.t.Error(err)
		}
		if err := presence.Close(); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(p.kill)
	return p
}

// kill ends a writer without a word, as far as that is possible within one process.
func (p *process) kill() {
	p.stop()
	p.wait()
}

// await waits for a fact.
func (h *host) await(kind dispatch.FactKind) dispatch.Fact {
	h.t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case f := <-h.facts:
			if f.Kind == kind {
				return f
			}
		case <-timeout:
			h.t.Fatalf("no %s within %s", kind, limit)
		}
	}
}
