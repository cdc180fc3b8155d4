package dispatchtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Timing is a link's in these tests.
var Timing = link.Timing{Heartbeat: 20 * time.Millisecond, Repeat: 30 * time.Millisecond, Confirm: 2 * time.Millisecond}

// Patience bounds every wait: who waits for longer waits for ever.
const Patience = 20 * time.Second

// Config says what a Consumer is.
type Config struct {
	Transport link.Transport
	Camera    string
	// Dir is the memory file system.
	Dir         string
	Group, Name string
	// Disk is what a writer writes to; nil for a group that writes nothing.
	Disk *Disk
	// Hold has it keep every frame and loss until Answer is called.
	Hold bool
	// Refuse is why it refuses runs; Usage makes it the user's fault. Silent has it not answer at all.
	Refuse        string
	Usage, Silent bool
	// Finish is the error of its answer to Finish; NoFinish has it not answer.
	Finish   string
	NoFinish bool
	// Check reports whether a frame has the pixels that it should have; nil looks for those of Stamp.
	Check func(o frames.Offer, pixels []byte) bool
	// Fate decides on what it sends; nil lets everything arrive.
	Fate linktest.Rule
}

// Consumer is a member that does as it is told. Its methods may be called concurrently.
type Consumer struct {
	t      testing.TB
	cfg    Config
	faults *linktest.Faults
	member *link.Member
	cancel context.CancelFunc
	done   chan struct{}
	leaves atomic.Bool

	mu       sync.Mutex // guards what follows
	presence *shm.Presence
	conn     uint64
	spec     run.Spec
	shards   map[uint64]uint64 // epochs of those it owns and has not sealed
	end      *uint64
	held     []link.Offered
	losses   []frames.LossRecord
	seen     []Seen
	events   []string
	over     bool
}

// Seen is one thing that was delivered.
type Seen struct {
	Kind   frames.Kind
	Offer  frames.Offer
	Seq    uint64 // of a frame or loss
	Epoch  uint64
	Loss   frames.Loss
	Armed  link.Armed
	End    link.End
	Left   bool // of Closed
	Intact bool
}

// Join starts a consumer. It ends with the test at the latest.
func Join(t testing.TB, cfg Config) *Consumer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Consumer{t: t, cfg: cfg, faults: linktest.NewFaults(cfg.Transport), cancel: cancel, done: make(chan struct{}), shards: map[uint64]uint64{}}
	announce, stop := context.WithTimeout(ctx, Patience)
	defer stop()
	var err error
	if c.presence, err = shm.Announce(announce, cfg.Dir, cfg.Camera, cfg.Name); err != nil {
		t.Fatal(err)
	}
	c.faults.Set(func(p frames.Packet) linktest.Fate {
		c.mu.Lock()
		c.conn = p.Conn
		c.mu.Unlock()
		if cfg.Fate != nil {
			return cfg.Fate(p)
		}
		return linktest.Fate{Copies: 1}
	})
	logger := slog.New(slog.DiscardHandler)
	c.member = link.NewMember(link.MemberConfig{
		Dialer: link.NewDialer(link.DialerConfig{
			Transport: c.faults, Base: "sluice." + cfg.Camera, Timing: Timing, Carrier: "shm", Health: c.health,
		}),
		Carrier: shm.Carrier{Dir: cfg.Dir}, Claims: c.claims, Logger: logger,
		Join: link.Join{Group: cfg.Group, Name: cfg.Name, PID: os.Getpid(), Host: "h", Nonce: frames.NewRunID().String()},
	})
	go c.work(ctx)
	t.Cleanup(c.Die)
	return c
}

// Die ends the consumer as kill -9 does: nothing more goes out, and its lock is free.
func (c *Consumer) Die() {
	c.faults.Cut()
	c.cancel()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	c.member.Close()
	c.faults.Close()
	c.presence.Close()
}

// Leave has the consumer say that it was asked to go. It goes when it is told Closed, or dies.
func (c *Consumer) Leave() { c.leaves.Store(true) }

func (c *Consumer) health() link.Health { return link.Health{Leaving: c.leaves.Load()} }

// Hang cuts the consumer off as SIGSTOP does: it lives and is silent. Wake ends that.
func (c *Consumer) Hang() { c.faults.Cut() }

// Wake ends Hang.
func (c *Consumer) Wake() { c.faults.Restore() }

// Reset makes the consumer lose its connection; it joins again at once.
func (c *Consumer) Reset() {
	c.mu.Lock()
	id := c.conn
	c.mu.Unlock()
	packet := frames.AppendPacket(nil, frames.Packet{Kind: frames.KindReset, Conn: id})
	if err := c.cfg.Transport.Publish("sluice."+c.cfg.Camera+".link.down."+c.cfg.Group+"."+c.cfg.Name, packet); err != nil {
		c.t.Error(err)
	}
}

// claims are the shards that a rejoining consumer says it still owns.
func (c *Consumer) claims() (frames.RunID, []link.Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var cs []link.Claim
	for shard, epoch := range c.shards {
		cs = append(cs, link.Claim{Shard: shard, Epoch: epoch})
	}
	c.held, c.losses = nil, nil // they come again
	return c.spec.Run, cs
}

func (c *Consumer) work(ctx context.Context) {
	defer close(c.done)
	for {
		d, err := c.member.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.t.Errorf("%s: %v", c.cfg.Name, err)
			}
			return
		}
		c.mu.Lock()
		c.take(d)
		c.seal()
		c.mu.Unlock()
	}
}

// take deals with a delivery. c.mu is held.
func (c *Consumer) take(d link.Delivery) {
	switch d.Kind {
	case frames.KindArmed:
		c.arm(*d.Armed)
	case frames.KindAssign:
		for _, a := range d.Assign {
			c.seen = append(c.seen, Seen{Kind: d.Kind, Seq: a.Shard, Epoch: a.Epoch})
			if c.cfg.Disk == nil || c.cfg.Disk.take(a.Shard, a.Epoch) {
				c.shards[a.Shard] = a.Epoch
			}
		}
	case frames.KindFrames:
		for _, f := range d.Frames {
			c.seen = append(c.seen, Seen{Kind: d.Kind, Seq: f.Offer.Seq, Epoch: f.Offer.Epoch, Offer: f.Offer, Intact: c.check(f)})
		}
		c.held = append(c.held, d.Frames...)
	case frames.KindLosses:
		for _, l := range d.Losses {
			c.seen = append(c.seen, Seen{Kind: d.Kind, Seq: l.Seq, Epoch: l.Epoch, Loss: l.Loss})
		}
		c.losses = append(c.losses, d.Losses...)
	case frames.KindEvent:
		c.events = append(c.events, string(d.Event))
	case frames.KindEnd:
		c.end = &d.End.Captured
		c.seen = append(c.seen, Seen{Kind: d.Kind, End: *d.End})
		if c.cfg.Disk == nil { // its last result is out
			c.member.Report(frames.KindFinished, link.Finished{Run: d.End.Run, Summary: run.Summary{Dtype: c.spec.Geometry.Dtype}})
		}
	case frames.KindFinish:
		c.finish(*d.Finish)
	case frames.KindClosed:
		c.seen = append(c.seen, Seen{Kind: d.Kind, Left: d.Closed.Left})
		c.held, c.losses, c.end = nil, nil, nil
		clear(c.shards)
	}
	if !c.cfg.Hold {
		c.answer(frames.Durable)
	}
}

func (c *Consumer) arm(a link.Armed) {
	c.seen = append(c.seen, Seen{Kind: frames.KindArmed, Armed: a})
	if a.Spec.Run != c.spec.Run {
		c.spec, c.end = a.Spec, nil
		clear(c.shards)
	}
	if !c.cfg.Silent {
		c.member.Report(frames.KindReady, link.Ready{Run: a.Spec.Run, Error: c.cfg.Refuse, Usage: c.cfg.Usage, Path: "/store/" + a.Spec.Store})
	}
}

func (c *Consumer) finish(f link.Finish) {
	c.seen = append(c.seen, Seen{Kind: frames.KindFinish})
	if c.cfg.NoFinish {
		return
	}
	sum := f.Summary
	if c.cfg.Disk != nil {
		sum.Written, sum.Lost, sum.LostByReason = 0, 0, map[string]uint64{}
		for s, n := range c.cfg.Disk.Counts() {
			if s == frames.Durable {
				sum.Written += n
			} else {
				sum.Lost += n
				sum.LostByReason[s.String()] += n
			}
		}
	}
	c.member.Report(frames.KindFinished, link.Finished{Run: f.Run, Error: c.cfg.Finish, Summary: sum})
}

// Stamp writes what Consumers expect to find in a frame's pixels.
func Stamp(pixels []byte, seq uint64) {
	for at := 0; at+8 <= len(pixels); at += 8 {
		binary.LittleEndian.PutUint64(pixels[at:], seq)
	}
}

// check reports whether a frame has the pixels of its seq. A frame that was reclaimed meanwhile has not.
func (c *Consumer) check(f link.Offered) bool {
	pixels, err := f.Frame.Pixels()
	if err != nil {
		c.t.Errorf("%s: %v", c.cfg.Name, err)
		return false
	}
	good := stamped
	if c.cfg.Check != nil {
		good = c.cfg.Check
	}
	if !good(f.Offer, pixels) {
		if f.Frame.Intact() == nil && c.cfg.Disk != nil && c.cfg.Disk.State(f.Offer.Seq) == frames.Absent {
			c.t.Errorf("%s: frame %d has other pixels", c.cfg.Name, f.Offer.Seq)
		}
		return false
	}
	return f.Frame.Intact() == nil
}

func stamped(o frames.Offer, pixels []byte) bool {
	for at := 0; at+8 <= len(pixels); at += 8 {
		if binary.LittleEndian.Uint64(pixels[at:]) != o.Seq {
			return false
		}
	}
	return true
}

// answer makes everything in hand durable, or lost for a reason. c.mu is held.
func (c *Consumer) answer(outcome frames.State) {
	var done []link.Offered
	for _, f := range c.held {
		if c.cfg.Disk == nil || c.cfg.Disk.put(f.Offer.Seq, f.Offer.Epoch, outcome) {
			done = append(done, f)
			c.reseal(f.Offer.Seq, f.Offer.Epoch)
		}
	}
	c.held = nil
	if c.cfg.Disk == nil {
		outcome = frames.Absent
	}
	c.member.Release(done, outcome)
	var settled []frames.LossRecord
	for _, l := range c.losses {
		ok := true
		for seq := l.Seq; c.cfg.Disk != nil && seq < l.End(); seq++ {
			ok = ok && c.cfg.Disk.put(seq, l.Epoch, l.Reason)
		}
		if !ok {
			continue
		}
		settled = append(settled, l)
		c.reseal(l.Seq, l.Epoch)
	}
	c.losses = nil
	c.member.Settle(settled)
}

// reseal has a frame's shard reported again where it is sealed already: acquire did not believe it while it had no
// answer about this frame. c.mu is held.
func (c *Consumer) reseal(seq, epoch uint64) {
	if c.cfg.Disk != nil && epoch != 0 && c.cfg.Disk.Sealed(seq/c.cfg.Disk.K) == epoch {
		c.shards[seq/c.cfg.Disk.K] = epoch
	}
}

// seal seals every shard that is complete. c.mu is held.
func (c *Consumer) seal() {
	if c.cfg.Disk == nil {
		return
	}
	for shard, epoch := range c.shards {
		end := (shard + 1) * c.cfg.Disk.K
		if c.end != nil {
			end = min(end, *c.end)
		}
		if c.cfg.Disk.seal(shard, epoch, end) {
			delete(c.shards, shard)
			c.member.Seal(frames.Assignment{Shard: shard, Epoch: epoch})
		}
	}
}

// Answer deals with everything that is held, and with all that comes from here on at once. The outcome is Durable or a
// reason of loss.
func (c *Consumer) Answer(outcome frames.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Hold = false
	c.answer(outcome)
	c.seal()
}

// Hold has the consumer keep what comes from here on.
func (c *Consumer) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Hold = true
}

// Step deals with the first n frames that are held.
func (c *Consumer) Step(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest, losses := c.held[n:], c.losses
	c.held, c.losses = c.held[:n], nil
	c.answer(frames.Durable)
	c.held, c.losses = rest, losses
	c.seal()
}

// Fail reports that the consumer cannot go on.
func (c *Consumer) Fail(why string, diskFull bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Hold = true
	c.member.Report(frames.KindFailed, link.Failed{Run: c.spec.Run, Error: why, DiskFull: diskFull})
}

// Member is the consumer's membership, to say with it what no honest consumer says.
func (c *Consumer) Member() *link.Member { return c.member }

// Held are the frames in its hands.
func (c *Consumer) Held() []link.Offered {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.held)
}

// Losses are the losses that it has not settled.
func (c *Consumer) Losses() []frames.LossRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.losses)
}

// Shards are the epochs of the shards that it owns and has not sealed.
func (c *Consumer) Shards() map[uint64]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[uint64]uint64{}
	for shard, epoch := range c.shards {
		m[shard] = epoch
	}
	return m
}

// Events are the lines for the event log.
func (c *Consumer) Events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// Seen is what was delivered of the given kinds, in order.
func (c *Consumer) Seen(kinds ...frames.Kind) []Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Seen
	for _, s := range c.seen {
		if slices.Contains(kinds, s.Kind) {
			list = append(list, s)
		}
	}
	return list
}

// Until waits for a state that comes about by itself.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := Await(ctx, ok); err != nil {
		t.Fatalf("waited in vain: %s", what)
	}
}

// ErrVain marks a wait that came to nothing.
var ErrVain = errors.New("waited in vain")

// Await waits for a state that comes about by itself, until ctx ends.
func Await(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrVain, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// ShmDir makes a folder in shared memory for a test.
func ShmDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
