package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// MemberConfig is what a consumer's membership needs.
type MemberConfig struct {
	Dialer  Dialer
	Carrier Carrier
	// Join is the request without run and claims.
	Join Join
	// Claims says what the member still holds, for when it joins again; nil says nothing.
	Claims func() (frames.RunID, []Claim)
	// Camera is the one whose runs the member takes; empty takes any.
	Camera string
	// Refusals takes down what is not taken; nil is nobody.
	Refusals *refusal.Book
	Logger   *slog.Logger
}

// Member is the one implementation of Receiver.
type Member struct {
	cfg MemberConfig

	// What follows is Next's alone.
	conn    Conn
	linked  context.Context // ends with conn
	spec    run.Spec        // of the run that is mapped; zero between runs
	policy  Policy          // of the group in that run
	mapping Mapping         // nil between runs
	offers  []frames.Offer
	rest    []frames.Offer // of offers, what was not turned into frames yet
	given   []Mapping      // of runs that are over for the consumer once it asks for the next delivery

	mu      sync.Mutex // guards what follows
	out     Conn       // conn, as Release sees it
	pending []reply
	ways    ways

	kick    chan struct{}
	stop    context.CancelFunc
	sending sync.WaitGroup
	linking sync.WaitGroup // who ends linked, of every connection
}

// reply is one batch of answers of one kind.
type reply struct {
	kind    frames.Kind
	body    []byte
	records int
}

// ways is how the pixels of the newest run come that could be mapped.
type ways struct {
	run frames.RunID
	way Way
}

// maxRecords is how many records go into one packet: it stays far below any broker's limit.
const maxRecords = 1024

var _ Receiver = (*Member)(nil)

// NewMember returns a membership that joins at the first Next. Close it.
func NewMember(cfg MemberConfig) *Member {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Member{cfg: cfg, linked: context.Background(), kick: make(chan struct{}, 1), stop: stop}
	m.sending.Go(func() { m.send(ctx) })
	return m
}

// Next implements Receiver. Who asks for the delivery after a Closed, or after the Armed of another run, has given
// up every frame of the run before: its memory is freed then.
func (m *Member) Next(ctx context.Context) (Delivery, error) {
	if err := m.unmap(); err != nil {
		m.cfg.Logger.Warn("unmap the slab of a run that is over", "error", err)
	}
	for {
		if m.conn == nil {
			if err := m.join(ctx); err != nil {
				return Delivery{}, err
			}
		}
		if len(m.rest) > 0 {
			if list := m.take(ctx); len(list) > 0 {
				return Delivery{Kind: frames.KindFrames, Frames: list}, nil
			}
			if ctx.Err() != nil {
				return Delivery{}, ctx.Err()
			}
			continue
		}
		kind, body, err := m.conn.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return Delivery{}, ctx.Err()
			}
			m.cfg.Logger.Info("link lost, joining again", "error", err)
			m.leave()
			continue
		}
		d, err := m.open(ctx, kind, body)
		if err != nil {
			m.cfg.Refusals.Note(refusal.Message, err)
			continue
		}
		if d.Kind != 0 {
			return d, nil
		}
	}
}

func (m *Member) join(ctx context.Context) error {
	j := m.cfg.Join
	j.Carriers = m.cfg.Carrier.Names()
	if m.cfg.Claims != nil {
		j.Run, j.Claims = m.cfg.Claims()
	}
	c, err := m.cfg.Dialer.Dial(ctx, j)
	if err != nil {
		return fmt.Errorf("join group %s as %s: %w", j.Group, j.Name, err)
	}
	m.conn = c
	linked, cut := context.WithCancel(context.Background())
	m.linked = linked
	m.linking.Go(func() {
		<-c.Done()
		cut()
	})
	m.mu.Lock()
	m.out, m.pending = c, m.pending[:0] // what was to be said to the old acquire means nothing to the new one
	m.mu.Unlock()
	return nil
}

func (m *Member) leave() {
	m.mu.Lock()
	m.out = nil
	m.mu.Unlock()
	m.conn.Close()
	m.conn = nil
	m.rest = nil // comes again
}

// open checks a message and makes a delivery of it; one of Kind 0 has nothing in it for the consumer.
func (m *Member) open(ctx context.Context, kind frames.Kind, body []byte) (Delivery, error) {
	d := Delivery{Kind: kind}
	var err error
	switch kind {
	case frames.KindArmed:
		d.Armed = &Armed{}
		if err = decode(kind, body, d.Armed); err == nil {
			err = m.arm(ctx, d.Armed)
		}
		if err == nil && m.mapping.Way().Window > 0 { // acquire's host has another clock
			d.Armed.Clock = clock.Run{}
		}
	case frames.KindAssign:
		d.Assign, err = frames.DecodeAssignments(nil, body)
	case frames.KindFrames:
		d.Kind = 0 // the next look is for them
		if m.offers, err = frames.DecodeOffers(m.offers[:0], body); err == nil && m.mapping == nil {
			err = fmt.Errorf("%w: %d frames of no run", ErrProtocol, len(m.offers))
		} else if err == nil {
			m.rest = m.offers
		}
	case frames.KindLosses:
		d.Losses, err = frames.DecodeLossRecords(nil, body)
	case frames.KindEvent:
		d.Event = body
	case frames.KindEnd:
		d.End = &End{}
		err = decode(kind, body, d.End)
	case frames.KindFinish:
		d.Finish = &Finish{}
		err = decode(kind, body, d.Finish)
	case frames.KindClosed:
		d.Closed = &Closed{}
		if err = decode(kind, body, d.Closed); err == nil && m.mapping != nil && d.Closed.Run == m.spec.Run {
			m.giveUp()
		}
	default:
		err = fmt.Errorf("%w: acquire sends no packets of kind %d", ErrProtocol, kind)
	}
	if err == nil && m.mapping != nil {
		err = inRange(&m.spec, &d)
	}
	return d, err
}

// arm maps the run's frames. A run that can't be mapped is refused for the consumer.
func (m *Member) arm(ctx context.Context, a *Armed) error {
	if m.mapping != nil && m.spec.Run == a.Spec.Run {
		return m.sameRun(a)
	}
	m.giveUp() // offers from here on are of the new run, whether it can be had or not
	err := a.sound(m.cfg.Camera)
	if err == nil {
		m.mapping, err = m.cfg.Carrier.Open(ctx, *a)
	}
	if err != nil {
		m.mapping = nil
		m.Report(frames.KindReady, Ready{Run: a.Spec.Run, Error: err.Error()})
		return err
	}
	m.spec, m.policy = a.Spec, a.Policy
	m.mu.Lock()
	m.ways = ways{a.Spec.Run, m.mapping.Way()}
	m.mu.Unlock()
	return nil
}

// sameRun refuses what says of the run that is mapped that it is another: its frames would be read as something else.
func (m *Member) sameRun(a *Armed) error {
	if err := a.sound(m.cfg.Camera); err != nil {
		return err
	}
	if a.Spec.Geometry != m.spec.Geometry || a.Spec.ShardFrames != m.spec.ShardFrames || a.Spec.Store != m.spec.Store {
		return fmt.Errorf("%w: run %s is described anew, as another", ErrProtocol, a.Spec.Run.Short())
	}
	return nil
}

// giveUp sets the mapping aside: the consumer may still read frames of it, until it asks for the next delivery.
func (m *Member) giveUp() {
	if m.mapping != nil {
		m.given = append(m.given, m.mapping)
	}
	m.mapping, m.spec, m.rest = nil, run.Spec{}, nil
}

// unmap frees what was given up, and with it memory that the next run's slab needs.
func (m *Member) unmap() error {
	var errs []error
	for _, given := range m.given {
		errs = append(errs, given.Close())
	}
	m.given = nil
	return errors.Join(errs...)
}

// take makes frames of the offers that wait, of as many as have their pixels here; it waits for the first, and asks for it
// again where it does not come. A stale offer is a frame that was released before, or reclaimed. What was offered on a
// connection that has ended is not waited for: it comes again with the next one, or to another member.
func (m *Member) take(ctx context.Context) []Offered {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.linked, cancel)()
	list := make([]Offered, 0, len(m.rest))
	n := m.mapping.Frames(ctx, m.rest, func(o frames.Offer, f *frames.Frame, err error) {
		switch {
		case err == nil:
			list = append(list, Offered{Offer: o, Frame: f})
		case !errors.Is(err, slab.ErrStale):
			m.cfg.Refusals.Note(refusal.Offer, err)
		default: // released before, or reclaimed
			m.cfg.Refusals.Count(refusal.Stale, 1)
			if m.policy == Latest { // acquire gives no other frame before this one is back
				m.queue(frames.KindReleases, 1, func(b []byte) []byte { return frames.AppendRelease(b, releaseOf(o, frames.Absent)) })
			}
		}
	})
	if n == 0 && ctx.Err() == nil {
		_ = m.conn.Send(frames.KindMissing, frames.AppendOffer(nil, m.rest[0])) // where that fails the connection has ended
	}
	if n == 0 && m.conn.Err() != nil {
		n = len(m.rest)
	}
	m.rest = m.rest[n:]
	return list
}

// Release implements Receiver.
func (m *Member) Release(fs []Offered, outcome frames.State) {
	for len(fs) > 0 {
		n := min(len(fs), maxRecords)
		for _, f := range fs[:n] {
			f.Frame.Release()
		}
		m.queue(frames.KindReleases, n, func(b []byte) []byte {
			for _, f := range fs[:n] {
				b = frames.AppendRelease(b, releaseOf(f.Offer, outcome))
			}
			return b
		})
		fs = fs[n:]
	}
}

func releaseOf(o frames.Offer, outcome frames.State) frames.Release {
	return frames.Release{Seq: o.Seq, Generation: o.Generation, Epoch: o.Epoch, Slot: o.Slot, Outcome: outcome}
}

// Settle implements Receiver.
func (m *Member) Settle(ls []frames.LossRecord) {
	for len(ls) > 0 {
		n := min(len(ls), maxRecords)
		m.queue(frames.KindSettled, n, func(b []byte) []byte {
			for _, l := range ls[:n] {
				b = frames.AppendLossRecord(b, l)
			}
			return b
		})
		ls = ls[n:]
	}
}

// Seal implements Receiver.
func (m *Member) Seal(a frames.Assignment) {
	m.queue(frames.KindSealed, 1, func(b []byte) []byte { return frames.AppendAssignment(b, a) })
}

// Report implements Receiver.
func (m *Member) Report(kind frames.Kind, body any) {
	if r, ok := body.(Ready); ok {
		body = m.terms(r)
	}
	text, err := json.Marshal(body)
	if err != nil {
		m.cfg.Logger.Error("report lost", "kind", kind, "error", err)
		return
	}
	m.queue(kind, maxRecords, func(b []byte) []byte { return append(b, text...) })
}

// terms adds to the answer to Armed how the run's pixels come.
func (m *Member) terms(r Ready) Ready {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Error == "" && r.Run == m.ways.run {
		r.Carrier, r.Window = m.ways.way.Carrier, m.ways.way.Window
		r.BufferBytes += m.ways.way.Bytes
	}
	return r
}

// queue adds n records to the batch that goes out next: it is small when the link is idle and grows with load.
func (m *Member) queue(kind frames.Kind, n int, add func([]byte) []byte) {
	m.mu.Lock()
	last := len(m.pending) - 1
	if last < 0 || m.pending[last].kind != kind || m.pending[last].records+n > maxRecords {
		last++
		if last < cap(m.pending) {
			m.pending = m.pending[:last+1] // with the buffer of an earlier batch, to be written over
		} else {
			m.pending = append(m.pending, reply{})
		}
		m.pending[last] = reply{kind: kind, body: m.pending[last].body[:0]}
	}
	r := &m.pending[last]
	r.body, r.records = add(r.body), r.records+n
	m.mu.Unlock()
	token(m.kick)
}

// send hands batches to the connection until Close, and once more then.
func (m *Member) send(ctx context.Context) {
	var sent []reply
	for {
		select {
		case <-ctx.Done():
			m.flush(sent)
			return
		case <-m.kick:
			sent = m.flush(sent)
		}
	}
}

// flush sends what is pending, and returns it for its buffers. Nobody waits meanwhile: who answers goes on with
// the buffers of the batches before.
func (m *Member) flush(spare []reply) []reply {
	m.mu.Lock()
	out, batches := m.out, m.pending
	m.pending = spare[:0]
	m.mu.Unlock()
	for i := range batches {
		if out == nil {
			break // what was to be said to the old acquire means nothing to the new one
		}
		if err := out.Send(batches[i].kind, batches[i].body); err != nil {
			m.cfg.Logger.Debug("answer lost with the link: acquire will offer again", "error", err)
			break
		}
	}
	return batches
}

// Connected reports whether the member has joined, for its status.
func (m *Member) Connected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out != nil && m.out.Err() == nil
}

// Heard is when anything came from acquire last, on this process's monotonic clock; zero while the member has not joined.
func (m *Member) Heard() time.Time {
	m.mu.Lock()
	out := m.out
	m.mu.Unlock()
	if out == nil || out.Err() != nil {
		return time.Time{}
	}
	return out.Peer().Heard
}

// Close leaves the group, after Next has returned for the last time and every frame was given up. Answers given so
// far are sent, and not repeated: acquire offers what it has no answer for to others.
func (m *Member) Close() error {
	m.stop()
	m.sending.Wait()
	if m.conn != nil {
		m.leave()
	}
	m.linking.Wait()
	m.giveUp()
	return m.unmap()
}
