package jetstream

import (
	"context"
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
	hand  map[key]bool      // published and not released: each has its cost from the budget
}

// item is an offer, or a message that must not overtake the offers before it.
type item struct {
	offer frames.Offer
	kind  frames.Kind // 0 for an offer
	body  []byte
}

// question is a member's for pixels that have not come. What was on its way when a connection broke is still in the stream,
// unacknowledged: so the first one is answered with that, and who asks once more gets the pixels from the slab.
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
		kick: make(chan struct{}, 1), sent: make(chan shipment, window+1), last: map[key]time.Time{}, hand: map[key]bool{},
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
	had := r.hand[k]
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
	if it.kind == 0 && r.policy == link.Lossless && !r.hand[keyOf(it.offer)] {
		if len(r.hand) >= r.window || r.feeder.budget.TryAcquire(r.cost) != nil {
			return item{}, false
		}
		r.hand[keyOf(it.offer)] = true
	}
	r.queue = r.queue[1:]
	return it, true
}

// asked takes the member's next question.
func (r *route) asked() (q question, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.again) == 0 {
		return question{}, false
	}
	q, r.again = r.again[0], r.again[1:]
	return q, true
}

// pump publishes until the route is closed.
func (r *route) pump() {
	defer close(r.sent)
	for {
		var sh shipment
		if q, ok := r.asked(); ok {
			if !r.answer(q, &sh) {
				continue
			}
		} else if it, ok := r.next(); ok {
			sh.item = it
			if it.kind == 0 {
				r.publish(&sh)
			}
		} else {
			select {
			case <-r.kick:
				continue
			case <-r.ctx.Done():
				return
			}
		}
		select {
		case r.sent <- sh:
		case <-r.ctx.Done():
			return
		}
	}
}

// answer deals with a question. It reports whether a frame was published for it.
func (r *route) answer(q question, sh *shipment) bool {
	*sh = shipment{item: item{offer: q.offer}, silent: true}
	if r.policy != link.Lossless {
		return false // it gives back what has not come
	}
	// With the consumer go the requests of connections that are gone, and all that was not acknowledged is sent anew.
	sh.err = r.feeder.renew(r.ctx, r.s.name)
	if sh.err == nil && q.first && !r.gone(q.offer) {
		return false
	}
	if sh.err == nil {
		r.publish(sh)
	}
	return true
}

// close ends the route, and takes what is left of it out of the stream.
func (r *route) close() {
	r.stop()
	r.working.Wait()
	r.feeder.dismiss(r)
	r.mu.Lock()
	held := int64(len(r.hand)) * r.cost
	r.hand = map[key]bool{}
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
