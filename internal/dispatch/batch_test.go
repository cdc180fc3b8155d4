package dispatch

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// gate is what a process sends: packets of a kind can be held, and it says how many records each of them had.
type gate struct {
	kind frames.Kind
	size int // of a record

	mu      sync.Mutex // guards what follows
	shut    chan struct{}
	waiting bool           // a packet of the kind waits at the gate
	records map[uint64]int // by the packet's number, so that repeats count once
	packets int            // of any kind
}

// pass waits until the gate is open.
func (g *gate) pass(data []byte) {
	p, _ := frames.DecodePacket(data) // zero where it is none
	g.mu.Lock()
	g.packets++
	shut := g.shut
	if p.Kind != g.kind { // a heartbeat that waited would keep the connection from the rest
		shut = nil
	} else {
		if g.records == nil {
			g.records = map[uint64]int{}
		}
		g.records[p.N] = len(p.Body) / g.size
		g.waiting = shut != nil
	}
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// gated is a transport with a gate before it.
type gated struct {
	link.Transport
	gate *gate
}

// Publish implements link.Transport.
func (g gated) Publish(subject string, data []byte) error {
	if g.gate != nil {
		g.gate.pass(data)
	}
	return g.Transport.Publish(subject, data)
}

func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.waiting = make(chan struct{}), false
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) waits() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

func (g *gate) sent() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.packets
}

// sizes are the batches that were sent since the last call, in order.
func (g *gate) sizes() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []int
	for n := uint64(1); len(g.records) > 0; n++ {
		if size, ok := g.records[n]; ok {
			list = append(list, size)
			delete(g.records, n)
		}
	}
	return list
}

// reader is a member that reads each frame, and gives them back when told to.
type reader struct {
	gate   *gate
	member *link.Member
	k      uint64

	mu     sync.Mutex // guards what follows
	held   []link.Offered
	epochs map[uint64]uint64 // of its shards
	sum    uint64            // of pixels
}

// reader starts one in a group. Shards that it owns it seals.
func (h *host) reader(group string) *reader {
	h.t.Helper()
	r := &reader{gate: &gate{kind: frames.KindReleases, size: frames.ReleaseSize}, k: h.cfg.k, epochs: map[uint64]uint64{}}
	announce, stop := context.WithTimeout(h.t.Context(), dispatchtest.Patience)
	defer stop()
	presence, err := shm.Announce(announce, h.dir, "cam0", group)
	if err != nil {
		h.t.Fatal(err)
	}
	r.member = link.NewMember(link.MemberConfig{
		Dialer:  link.NewDialer(link.DialerConfig{Transport: gated{h.transport(), r.gate}, Base: "sluice.cam0", Timing: dispatchtest.Timing, Carrier: "shm"}),
		Carrier: shm.Carrier{Dir: h.dir},
		Join:    link.Join{Group: group, Name: group, PID: os.Getpid(), Host: "h", Nonce: group},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.work(ctx) }()
	h.t.Cleanup(func() {
		r.gate.open()
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			h.t.Error(err)
		}
		if err := errors.Join(r.member.Close(), presence.Close()); err != nil {
			h.t.Error(err)
		}
	})
	h.until(group+" joins", func() bool { return h.member(group) != nil })
	return r
}

func (r *reader) work(ctx context.Context) error {
	for {
		d, err := r.member.Next(ctx)
		if err != nil {
			return err
		}
		if d.Kind == frames.KindArmed {
			r.member.Report(frames.KindReady, link.Ready{Run: d.Armed.Spec.Run})
		}
		if err := r.take(d); err != nil {
			return err
		}
	}
}

func (r *reader) take(d link.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range d.Assign {
		r.epochs[a.Shard] = a.Epoch
	}
	for _, f := range d.Frames {
		pixels, err := f.Frame.Pixels()
		if err != nil {
			return err
		}
		r.sum += uint64(pixels[0])
	}
	r.held = append(r.held, d.Frames...)
	return nil
}

func (r *reader) has() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

// giveBack releases the first n frames, so many at a time, and seals what is whole then.
func (r *reader) giveBack(n, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	outcome := frames.Absent
	if len(r.epochs) > 0 {
		outcome = frames.Durable
	}
	for part := range slices.Chunk(r.held[:n], most) {
		r.member.Release(part, outcome)
	}
	for _, f := range r.held[:n] {
		if shard := f.Offer.Seq / r.k; outcome == frames.Durable && f.Offer.Seq%r.k == r.k-1 {
			r.member.Seal(frames.Assignment{Shard: shard, Epoch: r.epochs[shard]})
		}
	}
	r.held = slices.Delete(r.held, 0, n)
}

// TestBatches: a frame that comes alone goes out at once and alone, in both directions; what gathers behind a packet goes
// out in batches of the limit.
func TestBatches(t *testing.T) {
	const burst = 1300
	ours := &gate{kind: frames.KindFrames, size: frames.OfferSize}
	h := newHost(t, setup{groups: []Group{{Name: "copy", Policy: link.Lossless, Required: 1}}, slots: 2048, nats: true, gate: ours})
	r := h.reader("copy")
	h.arm()
	home := func() {
		t.Helper()
		h.until("every frame is back", func() bool { return h.budget.Gauge().Used == 0 })
	}
	for range 5 {
		h.put(1)
		h.until("it is there", func() bool { return r.has() == 1 })
		r.giveBack(1, 1)
		home()
	}
	alone := []int{1, 1, 1, 1, 1}
	if got := ours.sizes(); !slices.Equal(got, alone) {
		t.Errorf("frames that came alone went out in batches of %v", got)
	}
	if got := r.gate.sizes(); !slices.Equal(got, alone) {
		t.Errorf("frames that came alone came back in batches of %v", got)
	}

	ours.hold()
	h.put(1)
	h.until("a frame waits to go out", ours.waits)
	h.put(burst)
	ours.open()
	h.until("all are there", func() bool { return r.has() == 1+burst })
	if got, want := ours.sizes(), []int{1, maxRecords, maxRecords, burst - 2*maxRecords}; !slices.Equal(got, want) {
		t.Errorf("a backlog of %d frames behind one went out in batches of %v, want %v", burst, got, want)
	}
	r.gate.hold()
	r.giveBack(1, 1)
	h.until("a frame waits to go back", r.gate.waits)
	r.giveBack(burst, 32)
	r.gate.open()
	home()
	if got, want := r.gate.sizes(), []int{1, 1024, burst - 1024}; !slices.Equal(got, want) {
		t.Errorf("a backlog of %d frames behind one came back in batches of %v, want %v", burst, got, want)
	}
}

// TestAllocations: a frame's way to a writer and to a copy, and back, allocates for each packet, not for each frame. One
// more allocation for each frame anywhere on it fails this: both directions, the broker between them included.
func TestAllocations(t *testing.T) {
	const burst, rounds = 1000, 20
	ours := &gate{kind: frames.KindFrames, size: frames.OfferSize}
	h := newHost(t, setup{groups: []Group{writers, {Name: "copy", Policy: link.Lossless, Required: 1}}, slots: 1024, k: burst, nats: true, gate: ours})
	readers := []*reader{h.reader("writer"), h.reader("copy")}
	h.arm()
	// The packets are large whatever else the machine does.
	round := func() {
		ours.hold()
		h.put(burst)
		ours.open()
		for _, r := range readers {
			h.until("all are there", func() bool { return r.has() == burst })
			r.giveBack(burst, burst)
		}
		h.until("every frame is back", func() bool { return h.budget.Gauge().Used == 0 })
	}
	packets := func() int { return ours.sent() + readers[0].gate.sent() + readers[1].gate.sent() }
	for range 3 {
		round()
	}
	// Of all rounds the one with the fewest: what else the process does meanwhile, by the clock, is in the others.
	least, sent := math.Inf(1), packets()
	for range rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		round()
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/burst)
	}
	t.Logf("%.3f allocations a frame, %d packets in %d rounds", least, packets()-sent, rounds)
	if least > mostAllocations {
		t.Errorf("%.3f allocations a frame, want at most %v", least, mostAllocations)
	}
}
