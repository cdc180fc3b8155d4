package jetstream

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// maxBatch is how many offers go into one packet.
	maxBatch = 512
	// againAfter is how long the same frame is not published once more, whatever the member says: its word may be older
	// than the parts that are on their way.
	againAfter = 500 * time.Millisecond
)

// route brings one run's frames to one member. Its first goroutine, pump, publishes what there is room for; the second,
// confirm, waits until that is stored and offers it.
type route struct {
	s      *sender
	feeder *Feeder
	run    frames.RunID
	policy link.Policy
	view   *slab.View
	cut    cut
	cost   int64 // of a frame, to the stream's budget
	window int   // frames in the member's hands

	ctx     context.Context
	stop    context.CancelFunc
	working sync.WaitGroup
	kick    chan struct{} // a token when there may be something to publish
	sent    chan shipment

	mu    sync.Mutex // guards what follows
	queue []item     // not published yet, in order
	again []question
	last  map[key]time.Time // when the member asked for frames
	hand  map[key]*held     // published and not released: each has its cost from the budget
	order uint64            // of the newest in hand
}

// held is a frame in a member's hands, or on its way there.
type held struct {
	offer  frames.Offer
	order  uint64    // of publication
	stream time.Time // which one has said that it has it; zero while none has
}

// item is an offer, or a message that must not overtake the offers before it.
type item struct {
	offer frames.Offer
	kind  frames.Kind // 0 for an offer
	body  []byte
}

// question is a member's for pixels that have not come. What was on its way when a connection broke is still in the stream,
// unacknowledged: so the first one is answered with that, and who asks once more, or asks for what the stream has lost, gets
// the pixels from the slab.
type question struct {
	offer frames.Offer
	first bool
}

// newRoute begins to work for a member. Close it.
func newRoute(s *sender, a link.Armed, view *slab.View, c cut, cost int64, window int) *route {
	// No member may have so much of the stream that there is nothing for another.
	window = min(window, max(1, int(s.feeder.cfg.MaxBytes/2/cost)))
	r := &route{
		s: s, feeder: s.feeder, run: a.Spec.Run, policy: a.Policy, view: view, cut: c, cost: cost, window: window,
		kick: make(chan struct{}, 1), sent: make(chan shipment, window+1), last: map[key]time.Time{}, hand: map[key]*held{},
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	s.feeder.enlist(r)
	r.working.Go(r.pump)
	r.working.Go(r.confirm)
	return r
}

// poke has the pump look.
func (r *route) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// offer queues offers.
func (r *route) offer(offers []frames.Offer) {
	r.mu.Lock()
	for _, o := range offers {
		r.queue = append(r.queue, item{offer: o})
	}
	r.mu.Unlock()
	r.poke()
}

// message queues what must come behind the offers before it.
func (r *route) message(kind frames.Kind, body []byte) {
	r.mu.Lock()
	r.queue = append(r.queue, item{kind: kind, body: append([]byte(nil), body...)})
	r.mu.Unlock()
	r.poke()
}

// released takes frames out of the member's hands.
func (r *route) released(rels []frames.Release) {
	for _, rel := range rels {
		r.settle(key{rel.Seq, rel.Generation})
	}
}

// settle gives back what a frame has of the window and of the stream's budget, once.
func (r *route) settle(k key) {
	r.mu.Lock()
	had := r.hand[k] != nil
	delete(r.hand, k)
	delete(r.last, k)
	r.mu.Unlock()
	if had {
		r.feeder.give(r.cost)
		r.poke()
	}
}

// missing takes a member's questions.
func (r *route) missing(offers []frames.Offer) {
	now := time.Now()
	r.mu.Lock()
	for _, o := range offers {
		if now.Sub(r.last[keyOf(o)]) > againAfter && len(r.again) <= r.window {
			r.again = append(r.again, question{o, r.last[keyOf(o)].IsZero()})
			r.last[keyOf(o)] = now
		}
	}
	r.mu.Unlock()
	r.poke()
}

// next takes what is to be published next, and for a lossless group's frame the room for it; ok is false where there is
// nothing, or no room.
func (r *route) next() (it item, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return item{}, false
	}
	it = r.queue[0]
	if it.kind == 0 && r.policy == link.Lossless && r.hand[keyOf(it.offer)] == nil {
		if len(r.hand) >= r.window || r.feeder.budget.TryAcquire(r.cost) != nil {
			return item{}, false
		}
		r.order++
		r.hand[keyOf(it.offer)] = &held{offer: it.offer, order: r.order}
	}
	r.queue = r.queue[1:]
	return it, true
}

// stored takes down which stream has a frame.
func (r *route) stored(o frames.Offer, stream time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hand[keyOf(o)]; h != nil {
		h.stream = stream
	}
}

// lost are a frame that was asked for and those that were published after it, in that order, as far as they are not in the
// stream: it has nothing for the member, or another one had them. The member would ask for one after the other.
func (r *route) lost(o frames.Offer, pending uint64) []frames.Offer {
	now := r.feeder.stream()
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.hand[keyOf(o)]
	if first == nil {
		return nil
	}
	var list []*held
	for _, h := range r.hand {
		if !h.stream.IsZero() && h.order >= first.order && (pending == 0 || !h.stream.Equal(now)) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b *held) int { return cmp.Compare(a.order, b.order) })
	offers := make([]frames.Offer, len(list))
	for i, h := range list {
		offers[i] = h.offer
		r.last[keyOf(h.offer)] = time.Now()
	}
	return offers
}

// asked takes the member's questions.
func (r *route) asked() []question {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.again
	r.again = nil
	return list
}

// pump publishes until the route is closed.
func (r *route) pump() {
	defer close(r.sent)
	for r.ctx.Err() == nil {
		if list := r.asked(); len(list) > 0 {
			r.answer(list)
		} else if it, ok := r.next(); ok {
			sh := shipment{item: it}
			if it.kind == 0 {
				r.publish(&sh)
			}
			r.pass(sh)
		} else {
			select {
			case <-r.kick:
			case <-r.ctx.Done():
			}
		}
	}
}

// pass hands a shipment to confirm.
func (r *route) pass(sh shipment) {
	select {
	case r.sent <- sh:
	case <-r.ctx.Done():
	}
}

// answer deals with questions.
func (r *route) answer(list []question) {
	if r.policy != link.Lossless {
		return // the member gives back what has not come
	}
	// With the consumer go the requests of connections that are gone, and all that was not acknowledged is sent anew.
	pending, err := r.feeder.renew(r.ctx, r.s.name)
	sent := map[key]bool{}
	for _, q := range list {
		var again []frames.Offer
		if err == nil {
			again = r.lost(q.offer, pending)
		}
		if len(again) == 0 {
			if err == nil && q.first && !r.gone(q.offer) {
				continue
			}
			again = append(again, q.offer)
		}
		for _, o := range again {
			if sent[keyOf(o)] {
				continue
			}
			sent[keyOf(o)] = true
			sh := shipment{item: item{offer: o}, silent: true, err: err}
			if err == nil {
				r.publish(&sh)
			}
			r.pass(sh)
		}
	}
}

// close ends the route, and takes what is left of it out of the stream.
func (r *route) close() {
	r.stop()
	r.working.Wait()
	r.feeder.dismiss(r)
	r.mu.Lock()
	held := int64(len(r.hand)) * r.cost
	clear(r.hand)
	r.mu.Unlock()
	if r.policy == link.Lossless {
		if err := r.feeder.empty(r.s.name); err != nil {
			r.feeder.cfg.Logger.Debug("parts are left in the stream", "member", r.s.name, "error", err)
		}
	}
	r.feeder.give(held)
	if err := r.view.Close(); err != nil {
		r.feeder.cfg.Logger.Warn("unmap the slab of a run that is over", "error", err)
	}
}
