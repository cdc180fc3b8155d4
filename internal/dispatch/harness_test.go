package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	writers  = Group{Name: "writer", Policy: link.Lossless, Sharded: true, Required: 1}
	newest   = Group{Name: "analyze", Policy: link.Latest}
	everyone = Group{Name: "copy", Policy: link.Lossless}
)

// setup is what a test asks for; zero fields have defaults.
type setup struct {
	groups  []Group
	slots   int    // 8
	spare   int    // of the slots, for the latest groups: 0
	k       uint64 // frames in a shard: 4
	nats    bool   // a real broker rather than the hub
	join    time.Duration
	hung    time.Duration // patience: nobody hangs
	reclaim time.Duration // patience
	over    time.Duration // for handing over: patience
	fate    linktest.Rule // of what acquire sends
	gate    *gate         // before it; nil for none
}

// host is acquire's side of a camera, and the frames' producer.
type host struct {
	*Dispatcher
	cfg       setup
	t         *testing.T
	dir       string
	transport func() link.Transport
	spec      run.Spec
	disk      *dispatchtest.Disk
	slab      *slab.Slab
	budget    *backpressure.Budget
	reserve   *backpressure.Budget
	seq       uint64
	down      func() // ends the dispatcher as a kill would
	mu        sync.Mutex
	facts     []Fact
}

func newHost(t *testing.T, s setup) *host {
	t.Helper()
	if s.groups == nil {
		s.groups = []Group{writers}
	}
	def := func(d *time.Duration) {
		if *d == 0 {
			*d = dispatchtest.Patience
		}
	}
	def(&s.join)
	def(&s.hung)
	def(&s.reclaim)
	def(&s.over)
	if s.slots == 0 {
		s.slots = 8
	}
	if s.k == 0 {
		s.k = 4
	}
	h := &host{cfg: s, t: t, dir: dispatchtest.ShmDir(t), disk: dispatchtest.NewDisk(s.k)}
	if s.nats {
		srv := bustest.Start(t)
		h.transport = func() link.Transport { return link.NATS(srv.Connect("test")) }
	} else {
		hub := linktest.NewHub()
		h.transport = func() link.Transport { return hub }
	}
	h.spec = run.Spec{
		Run: frames.NewRunID(), Camera: "cam0", ShardFrames: s.k, Store: "x.ome.zarr", Codec: "none",
		Geometry: frames.Geometry{Height: 1, Width: 512, Channels: 1, Dtype: frames.Uint8},
	}
	var err error
	if h.slab, err = slab.Create(slab.Config{Dir: h.dir, Spec: h.spec, Slots: s.slots}); err != nil {
		t.Fatal(err)
	}
	h.up()
	t.Cleanup(func() {
		h.down()
		if h.slab != nil {
			h.slab.Close()
		}
	})
	return h
}

// up starts a dispatcher, as a new process would.
func (h *host) up() {
	h.t.Helper()
	names := make([]string, len(h.cfg.groups))
	for i, g := range h.cfg.groups {
		names[i] = g.Name
	}
	transport := linktest.NewFaults(h.transport())
	transport.Set(h.cfg.fate)
	listener, err := link.Listen(link.ListenerConfig{
		Transport: gated{transport, h.cfg.gate}, Base: "sluice.cam0", Timing: dispatchtest.Timing, Groups: names,
		Alive: shm.Alive(h.dir, "cam0"), AlivePeriod: 5 * time.Millisecond,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Dispatcher, err = New(Config{
		Listener: listener, Groups: h.cfg.groups, Connected: transport.Connected, JoinTimeout: h.cfg.join, Hung: h.cfg.hung, Reclaim: h.cfg.reclaim, HandOver: h.cfg.over,
		Refusals: refusal.New(nil), Logger: slog.New(slog.DiscardHandler),
		Note: func(f Fact) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.facts = append(h.facts, f)
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	h.down = sync.OnceFunc(func() {
		transport.Cut()
		cancel()
		if err := <-served; err != nil {
			h.t.Error(err)
		}
		transport.Close()
	})
	h.resetReserve()
}

// resetReserve makes the accounts of a new run.
func (h *host) resetReserve() {
	h.t.Helper()
	var err error
	stride := int64(h.slab.Stride())
	if h.budget, err = backpressure.NewBudget(backpressure.Config{Limit: int64(h.cfg.slots-h.cfg.spare) * stride}); err != nil {
		h.t.Fatal(err)
	}
	if h.reserve, err = backpressure.NewBudget(backpressure.Config{Limit: int64(max(h.cfg.spare, 1)) * stride}); err != nil {
		h.t.Fatal(err)
	}
}

// restart kills acquire and starts it again on the slab that it leaves. Arm follows.
func (h *host) restart() {
	h.t.Helper()
	h.down()
	path := h.slab.Path()
	if err := h.slab.Close(); err != nil { // what the kernel does: nothing in it changes
		h.t.Fatal(err)
	}
	h.slab = nil
	s, err := slab.Resume(path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.slab = s
	h.seq = s.Captured()
	h.up()
}

func (h *host) config() RunConfig {
	return RunConfig{Slab: h.slab, Budget: h.budget, Reserve: h.reserve}
}

// arm begins the run with the members that are there.
func (h *host) arm() {
	h.t.Helper()
	if err := h.Arm(h.t.Context(), h.config()); err != nil {
		h.t.Fatal(err)
	}
}

// resume begins the run again once n members have come back.
func (h *host) resume(n int) {
	h.t.Helper()
	h.until("members come back", func() bool { return len(h.Members()) == n })
	c := h.config()
	c.Resumed = true
	if err := h.Arm(h.t.Context(), c); err != nil {
		h.t.Fatal(err)
	}
}

// consumer starts a member and waits until it has joined.
func (h *host) consumer(c dispatchtest.Config) *dispatchtest.Consumer {
	h.t.Helper()
	c.Transport, c.Camera, c.Dir = h.transport(), "cam0", h.dir
	m := dispatchtest.Join(h.t, c)
	h.until(c.Name+" joins", func() bool { return h.member(c.Name) != nil })
	return m
}

func (h *host) writer(name string) *dispatchtest.Consumer {
	h.t.Helper()
	return h.consumer(dispatchtest.Config{Group: "writer", Name: name, Disk: h.disk})
}

func (h *host) holder(name string) *dispatchtest.Consumer {
	h.t.Helper()
	return h.consumer(dispatchtest.Config{Group: "writer", Name: name, Disk: h.disk, Hold: true})
}

func (h *host) member(name string) *MemberAccount {
	for _, m := range h.Members() {
		if m.Name == name {
			return &m
		}
	}
	return nil
}

// put captures n frames, each as soon as there is room for it.
func (h *host) put(n int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), dispatchtest.Patience)
	defer cancel()
	for range n {
		if err := h.budget.Acquire(ctx, int64(h.slab.Stride())); err != nil {
			h.t.Fatalf("frame %d: %v", h.seq, err)
		}
		h.capture()
	}
}

// capture brings one frame, for which the budget has room, into the slab.
func (h *host) capture() {
	h.t.Helper()
	slot, ok := h.slab.Take()
	if !ok {
		h.t.Fatalf("the budget has room for frame %d, the slab has no slot", h.seq)
	}
	dispatchtest.Stamp(h.slab.Pixels(slot), h.seq)
	rec := h.slab.Commit(slot, frames.Header{Run: h.spec.Run, Seq: h.seq, FrameID: h.seq + 1000, HostNS: time.Now().UnixNano()}, h.Mask())
	h.seq++
	h.Offer(slot, rec)
}

// skip loses n frames.
func (h *host) skip(n uint64, reason frames.State) {
	h.t.Helper()
	if err := h.trySkip(n, reason); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) trySkip(n uint64, reason frames.State) error {
	rest, err := h.Lose(frames.Loss{
		Seq: h.seq, Count: n, FirstFrameID: h.seq + 1000, LastFrameID: h.seq + 999 + n, FirstNS: 1, LastNS: 2, Reason: reason, Stage: frames.AtCamera,
	})
	if err == nil {
		h.seq += n
	} else {
		h.seq = rest.Seq
	}
	return err
}

// drain ends the run and waits until it has drained; then everything must add up.
func (h *host) drain() {
	h.t.Helper()
	h.End()
	select {
	case <-h.Drained():
	case <-time.After(dispatchtest.Patience):
		h.t.Fatalf("not drained: %s", h.dump())
	}
	h.audit()
}

// audit checks that nothing is left of a run that has drained.
func (h *host) audit() {
	h.t.Helper()
	h.until("the budget is empty", func() bool { return h.budget.Gauge().Used == 0 })
	h.checkAccounts()
	pinned := 0
	d := h.Dispatcher
	d.mu.Lock()
	for _, n := range d.run.lent {
		if n > 0 {
			pinned++
		}
	}
	d.mu.Unlock()
	if free := h.free(); free+pinned != h.cfg.slots {
		h.t.Errorf("%d slots are free and %d are the newest frame's, of %d", free, pinned, h.cfg.slots)
	}
	if n := len(h.slab.Losses()); n != 0 {
		h.t.Errorf("%d losses are left in the slab", n)
	}
	if err := h.disk.Audit(h.seq); err != nil {
		h.t.Error(err)
	}
}

// free counts the free slots by taking them all.
func (h *host) free() int {
	var taken []int
	for {
		slot, ok := h.slab.Take()
		if !ok {
			break
		}
		taken = append(taken, slot)
	}
	for _, slot := range taken {
		h.slab.Discard(slot)
	}
	return len(taken)
}

// checkAccounts checks what must hold at every moment, between two frames.
func (h *host) checkAccounts() {
	h.t.Helper()
	d := h.Dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run
	stride := int64(h.slab.Stride())
	lossless, reserved, inUse := int64(0), int64(0), 0
	lent := make([]int, h.cfg.slots)
	for _, g := range r.groups {
		l, ok := g.(*latest)
		if !ok {
			continue
		}
		if l.newest >= 0 {
			reserved++
			lent[l.newest]++
		}
		for _, have := range l.lent {
			if !have.reclaimed {
				reserved++
				lent[have.slot]++
			}
		}
	}
	for slot := range h.cfg.slots {
		rec, err := h.slab.Record(slot)
		if err != nil {
			h.t.Fatal(err)
		}
		if rec.Holders != 0 {
			lossless++
		}
		if rec.Holders != 0 || lent[slot] > 0 {
			inUse++
		}
		if int(r.lent[slot]) != lent[slot] {
			h.t.Errorf("slot %d: %d holds of latest groups on the books, %d in fact", slot, r.lent[slot], lent[slot])
		}
	}
	// Bytes that are on their way back to the budget are still used in its eyes.
	if used := h.budget.Gauge().Used; used < lossless*stride {
		h.t.Errorf("the budget has %d bytes in use, lossless groups hold %d", used, lossless*stride)
	}
	if used := h.reserve.Gauge().Used; used != reserved*stride {
		h.t.Errorf("the reserve has %d bytes in use, latest groups hold %d", used, reserved*stride)
	}
	if int64(inUse)*stride > h.budget.Gauge().Used+h.reserve.Gauge().Used {
		h.t.Errorf("%d slots are in use, the accounts have %d", inUse, (h.budget.Gauge().Used+h.reserve.Gauge().Used)/stride)
	}
	outstanding := map[*member]int{}
	for _, g := range r.groups {
		g.held(func(m *member, _ int) {
			if m != nil && m.ready {
				outstanding[m]++
			}
		})
	}
	for _, m := range d.members {
		if m.ready && m.outstanding != outstanding[m] {
			h.t.Errorf("%s has %d frames in hand on the books, %d in fact", m.name, m.outstanding, outstanding[m])
		}
	}
}

func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	dispatchtest.Until(h.t, what, ok)
}

// told are the facts of some kinds so far.
func (h *host) told(kinds ...FactKind) []Fact {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Fact
	for _, f := range h.facts {
		if slices.Contains(kinds, f.Kind) {
			list = append(list, f)
		}
	}
	return list
}

// seqs are the frames in what a consumer has seen.
func seqs(list []dispatchtest.Seen) []uint64 {
	var out []uint64
	for _, s := range list {
		out = append(out, s.Seq)
	}
	return out
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func wantError(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || err == nil || !contains(err.Error(), text) {
		t.Errorf("error %v, want %v with %q", err, want, text)
	}
}

// dump says what a run that does not drain waits for.
func (h *host) dump() string {
	text := fmt.Sprintf("%+v\n", h.Account())
	d := h.Dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.members {
		p := m.conn.Peer()
		text += fmt.Sprintf("%s: ready %v, gone %v, failed %q, %d in hand, %d unconfirmed, heard %s ago\n",
			m.name, m.ready, m.gone, m.failed, m.outstanding, p.Unconfirmed, time.Since(p.Heard))
	}
	for i, g := range d.run.groups {
		text += fmt.Sprintf("%s: quiet %v\n", h.cfg.groups[i].Name, g.quiet())
	}
	if s := d.run.shards; s != nil {
		for no, sh := range s.open {
			owner := "nobody"
			if sh.owner != nil {
				owner = sh.owner.name
			}
			text += fmt.Sprintf("shard %d, epoch %d of %s: frames %v, losses %d; on the disk: sealed %d\n", no, sh.epoch, owner, sh.slots, len(sh.loss), h.disk.Sealed(no))
		}
	}
	return text
}
