package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Config is what a Dispatcher needs.
type Config struct {
	Listener link.Listener
	// Groups in the order of their bits in a slab's slots. At most one is sharded.
	Groups []Group
	// Connected reports whether the transport works: while it doesn't, nobody counts as hung for good.
	Connected func() bool
	// JoinTimeout is how long a run waits for a member of each required group and for their answers (10 s).
	JoinTimeout time.Duration
	// Hung is how long a member may be silent before it gets no new shards (5 s).
	Hung time.Duration
	// Reclaim is how long a latest member may keep a frame (2 s).
	Reclaim time.Duration
	// HandOver is how long a member that leaves may wait for the rest of the shard that is being filled; then another
	// takes it over (5 s).
	HandOver time.Duration
	// Note is told facts as they happen. It must not block and must not call the dispatcher.
	Note func(Fact)
	// Refusals takes down what is not taken of members; nil is nobody.
	Refusals *refusal.Book
	Logger   *slog.Logger
}

// Dispatcher keeps a camera's members and hands frames to them. Its methods may be called concurrently.
type Dispatcher struct {
	cfg Config

	mu      sync.Mutex // guards what follows, the members' fields and the run's
	members []*member
	run     *runState
	turns   uint64        // frames given to members that take turns
	changed chan struct{} // closed and renewed when a member joins, answers or goes
	// past has the nonce of the newest process of each name, to tell a restart from a link that was lost.
	past map[string]string
	// times are how long frames took, of all runs.
	times run.Histogram
}

// New returns a Dispatcher; Serve makes it work.
func New(cfg Config) (*Dispatcher, error) {
	sharded := 0
	for _, g := range cfg.Groups {
		if g.Sharded {
			sharded++
		}
		if g.Sharded && g.Policy != link.Lossless {
			return nil, fmt.Errorf("group %s owns shards and must be lossless", g.Name)
		}
	}
	if sharded > 1 || len(cfg.Groups) > 30 {
		return nil, fmt.Errorf("%d groups of which %d own shards: want at most 30 and 1", len(cfg.Groups), sharded)
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&cfg.JoinTimeout, 10*time.Second)
	set(&cfg.Hung, 5*time.Second)
	set(&cfg.Reclaim, 2*time.Second)
	set(&cfg.HandOver, 5*time.Second)
	if cfg.Note == nil {
		cfg.Note = func(Fact) {}
	}
	return &Dispatcher{cfg: cfg, changed: make(chan struct{}), past: map[string]string{}}, nil
}

// Serve takes members in until ctx ends, and then closes the listener.
func (d *Dispatcher) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return d.cfg.Listener.Close()
			case now := <-tick.C:
				d.tick(now)
			}
		}
	})
	g.Go(func() error {
		for {
			c, err := d.cfg.Listener.Accept(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("accept members: %w", err)
			}
			g.Go(func() error { return d.serve(ctx, c) })
		}
	})
	return g.Wait()
}

// serve works for one member until its connection ends.
func (d *Dispatcher) serve(ctx context.Context, c link.Conn) error {
	defer c.Close()
	ctx, stop := context.WithCancel(ctx)
	m := d.join(c)
	var sending sync.WaitGroup
	sending.Go(func() { m.out.run(ctx) })
	defer sending.Wait()
	defer stop()
	for {
		kind, body, err := c.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				d.leave(m, err)
			}
			return nil
		}
		if err := d.handle(m, kind, body); err != nil {
			d.cfg.Refusals.Note(refusal.Message, err, "member", m.name)
		}
	}
}

// maxPast bounds the names that are remembered.
const maxPast = 4096

// join takes a member in. One of the same name is gone by this, whether that was seen already or not; what the new
// one claims of it stays with it, the rest goes to others.
func (d *Dispatcher) join(c link.Conn) *member {
	j := c.Peer().Join
	m := &member{name: j.Name, conn: c, out: newOutbox(c), joined: time.Now(), nonce: j.Nonce, restarts: j.Restarts}
	for i, g := range d.cfg.Groups {
		if g.Name == j.Group {
			m.group = i
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m.claims, m.claimed = j.Claims, j.Run
	kind := MemberJoined
	if nonce, before := d.past[m.name]; before && nonce != m.nonce {
		kind = MemberRestarted
		if d.run != nil {
			d.run.slab.AddTally(slab.Restarts, 1)
		}
	}
	if len(d.past) >= maxPast {
		clear(d.past)
	}
	d.past[m.name] = m.nonce
	d.note(Fact{Kind: kind, Member: m.name, Group: j.Group, PID: j.PID})
	before := slices.IndexFunc(d.members, func(o *member) bool { return o.name == m.name })
	d.members = append(d.members, m)
	if before >= 0 {
		d.remove(d.members[before])
	}
	if r := d.run; r != nil {
		delete(r.away, m.name)
		r.claim(m)
		r.arm(m)
		r.advance(time.Now())
	}
	d.change()
	return m
}

// remove takes a member off the books: what it had waits for others. d.mu is held.
func (d *Dispatcher) remove(m *member) {
	m.gone, m.ready = true, false
	d.members = slices.DeleteFunc(d.members, func(o *member) bool { return o == m })
	if d.run != nil {
		if m.failed == "" && !m.excused {
			d.run.away[m.name] = absence{m.group, time.Now()}
		}
		d.run.groups[m.group].gone(m)
		d.run.rehead(m.group)
	}
}

func (d *Dispatcher) leave(m *member, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errors.Is(why, link.ErrReplaced) {
		if !m.gone { // the same process joins again in a moment: it keeps what it has until then
			m.gone, m.ready, m.left = true, false, time.Now()
		}
		return
	}
	f := Fact{Kind: MemberLost, Member: m.name, Group: d.cfg.Groups[m.group].Name, PID: m.conn.Peer().Join.PID, Reason: why.Error(), Frames: m.outstanding}
	if m.conn.Peer().Health.Leaving && m.outstanding+m.owned == 0 { // it went in order
		f.Kind, f.Reason = MemberLeft, ""
	}
	d.note(f)
	if !slices.Contains(d.members, m) { // its successor was faster
		return
	}
	d.remove(m)
	if d.run != nil {
		d.run.advance(time.Now())
	}
	d.change()
}

// stale takes down a message or record that was ignored.
func (d *Dispatcher) stale() { d.cfg.Refusals.Count(refusal.Stale, 1) }

// change wakes those that wait for a change among the members. d.mu is held.
func (d *Dispatcher) change() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// note tells a fact. d.mu is held.
func (d *Dispatcher) note(f Fact) {
	if d.run != nil {
		f.Run = d.run.spec.Run
	}
	d.cfg.Note(f)
}

func (d *Dispatcher) tick(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cfg.Connected != nil && !d.cfg.Connected() {
		return
	}
	for _, m := range slices.Clone(d.members) {
		if m.gone && now.Sub(m.left) > d.cfg.Hung { // it did not join again after all
			d.remove(m)
			d.change()
		}
	}
	if d.run != nil {
		d.run.part(now)
		d.run.advance(now)
	}
}

// handle takes one message of a member. What does not fit the state is what repeats and late answers look like:
// it is counted, not an error.
func (d *Dispatcher) handle(m *member, kind frames.Kind, body []byte) error {
	d.mu.Lock()
	r := d.run
	var freed int64
	defer func() {
		d.mu.Unlock()
		if freed > 0 {
			r.free(freed)
		}
	}()
	decode := func(v any) error {
		if err := json.Unmarshal(body, v); err != nil {
			return fmt.Errorf("%w: packet of kind %d: %w", link.ErrProtocol, kind, err)
		}
		return nil
	}
	if m.gone || r == nil {
		d.stale()
		return nil
	}
	switch kind {
	case frames.KindReleases, frames.KindSettled, frames.KindSealed, frames.KindFinished:
		// They bear no run: what comes before the member has agreed to this run is about an earlier one.
		if !m.ready {
			d.stale()
			return nil
		}
	}
	switch kind {
	case frames.KindReady:
		var a link.Ready
		if err := decode(&a); err != nil {
			return err
		}
		r.answered(m, a)
	case frames.KindReleases:
		var err error
		m.rels, err = frames.DecodeReleases(m.rels[:0], body)
		freed = r.releases(m, m.rels)
		r.check()
		return err
	case frames.KindSettled:
		recs, err := frames.DecodeLossRecords(nil, body)
		for _, rec := range recs {
			freed += r.settle(m, rec)
		}
		r.check()
		return err
	case frames.KindSealed:
		as, err := frames.DecodeAssignments(nil, body)
		for _, a := range as {
			if !r.seal(m, a) {
				d.stale()
			}
		}
		r.check()
		return err
	case frames.KindFinished:
		var f link.Finished
		if err := decode(&f); err != nil {
			return err
		}
		r.finished(m, f)
	case frames.KindFailed:
		var f link.Failed
		if err := decode(&f); err != nil {
			return err
		}
		r.failed(m, f)
	default:
		return fmt.Errorf("%w: members send no packets of kind %d", link.ErrProtocol, kind)
	}
	return nil
}
