package dispatch

import (
	"maps"
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// shards is a sharded lossless group during a run.
type shards struct {
	r    *runState
	g    int
	open map[uint64]*shard // not sealed, by number
	// ahead has the shards beyond the first unsealed one that are sealed.
	ahead map[uint64]bool
	// sent counts the shards given to each member in the run: equal load goes to who had fewer. One that joins late begins with
	// as many as the others had at least: else all shards were its own until it had caught up.
	sent map[string]int
	// Shards without an owner have numbers from orphan on and below top.
	orphan, top uint64
	book        lossBook
}

// maxOwned bounds the shards that a member has at a time: each costs it files and memory. Others wait, the oldest
// first, which shows as backpressure.
const maxOwned = 16

// shard is one that is not sealed yet.
type shard struct {
	no    uint64
	epoch uint64
	owner *member
	slots map[uint64]int // by seq: frames not released
	loss  []*loss        // in order of seq: not settled
	told  time.Time      // when losses were last sent
	// spoilt are the ranges that owners have found to be damaged, each frame once.
	spoilt []frames.Loss
}

var _ group = (*shards)(nil)

func newShards(r *runState, g int) *shards {
	return &shards{r: r, g: g, open: map[uint64]*shard{}, ahead: map[uint64]bool{}, sent: map[string]int{}, book: lossBook{slab: r.slab}}
}

// shard returns the state of a shard that is not sealed, made if need be.
func (s *shards) shard(no uint64) *shard {
	sh := s.open[no]
	if sh == nil {
		sh = &shard{no: no, epoch: s.r.slab.Owner(no), slots: map[uint64]int{}}
		s.open[no] = sh
		s.orphan, s.top = min(s.orphan, no), max(s.top, no+1)
	}
	return sh
}

// own returns the shard with an owner, if there is anyone to own it.
func (s *shards) own(no uint64) *shard {
	sh := s.shard(no)
	if sh.owner == nil {
		s.adopt()
	}
	return sh
}

// pick returns the writer for one more shard: the one that has the fewest and had the fewest of those that stay; nil when
// none has room.
func (s *shards) pick() *member {
	best := s.r.d.pick(s.g)
	if best == nil {
		return nil
	}
	now := time.Now()
	for _, m := range s.r.d.members {
		if s.r.d.takes(m, s.g, now) && m.stays() == best.stays() && (m.owned < best.owned || m.owned == best.owned && s.sent[m.name] < s.sent[best.name]) {
			best = m
		}
	}
	if best.owned >= maxOwned {
		return nil
	}
	return best
}

// assign gives a shard to a member under a new epoch, with all of it that is not released or settled.
func (s *shards) assign(sh *shard, m *member) {
	again := sh.epoch != 0
	sh.epoch, sh.owner = s.r.slab.NextEpoch(), m
	s.r.slab.SetOwner(sh.no, sh.epoch)
	m.owned++
	s.sent[m.name]++
	s.resend(sh, again)
}

// resend says again what a shard's owner must know. Of a frame that a broken disk did not take
// it names the loss alone.
func (s *shards) resend(sh *shard, again bool) {
	m := sh.owner
	m.out.assign(frames.Assignment{Shard: sh.no, Epoch: sh.epoch})
	for _, seq := range slices.Sorted(maps.Keys(sh.slots)) {
		slot := sh.slots[seq]
		if rec, err := s.r.slab.Record(slot); err == nil {
			m.outstanding++
			if s.r.lostToDisk && s.losing(seq) {
				continue
			}
			if again {
				m.redelivered++
			}
			m.out.offer(rec.Offer(slot, sh.epoch))
		}
	}
	for _, l := range sh.loss {
		l.sent = false
	}
	sh.told = time.Time{}
	s.send(sh)
}

func (s *shards) offer(slot int, rec slab.Record) {
	no := s.r.spec.Shard(rec.Seq)
	// An orphan gets its owner before the frame is added: an assignment sends all that the shard has.
	sh := s.own(no)
	sh.slots[rec.Seq] = slot
	if sh.owner != nil && sh.owner.ready { // one that is not ready yet is told all when it is
		sh.owner.outstanding++
		sh.owner.out.offer(rec.Offer(slot, sh.epoch))
	}
}

func (s *shards) release(m *member, rel frames.Release) bool {
	sh := s.open[s.r.spec.Shard(rel.Seq)]
	if sh == nil || sh.owner != m || sh.epoch != rel.Epoch {
		return false
	}
	if slot, ok := sh.slots[rel.Seq]; !ok || slot != int(rel.Slot) || !s.r.matches(rel) {
		return false
	}
	delete(sh.slots, rel.Seq)
	m.outstanding--
	return true
}

// lose takes a range that lies in one shard. Ranges that continue each other become one while they wait.
func (s *shards) lose(l frames.Loss) error {
	sh := s.own(s.r.spec.Shard(l.Seq))
	var last *loss
	if n := len(sh.loss); n > 0 {
		last = sh.loss[n-1]
	}
	added, err := s.book.add(l, last)
	if err != nil {
		return err
	}
	if added != last {
		sh.loss = append(sh.loss, added)
	}
	s.send(sh)
	return nil
}

// gather is how long the losses of a shard that others may follow gather: each time that they go out costs the writer a
// sync.
const gather = 100 * time.Millisecond

// send offers a shard's losses to its owner, unless some are on their way or were a moment ago: those that come meanwhile
// gather.
func (s *shards) send(sh *shard) {
	now := time.Now()
	if sh.owner == nil || !sh.owner.ready || len(sh.loss) == 0 || !s.whole(sh.no) && now.Sub(sh.told) < gather {
		return
	}
	for _, l := range sh.loss {
		if l.sent {
			return
		}
	}
	sh.told = now
	for _, l := range sh.loss {
		l.sent = true
		sh.owner.out.lose(frames.LossRecord{Loss: l.Loss, Epoch: sh.epoch})
	}
}

// owns reports whether a member speaks of a shard that is its own now.
func (s *shards) owns(m *member, rec frames.LossRecord) bool {
	sh := s.open[s.r.spec.Shard(rec.Seq)]
	return sh != nil && sh.owner == m && sh.epoch == rec.Epoch
}

// damaged takes a member's word that frames which it or an owner before released as durable are not to be had any more.
// It counts once, and only of frames that were released.
func (s *shards) damaged(m *member, rec frames.LossRecord) bool {
	if !s.owns(m, rec) || s.r.spec.Shard(rec.End()-1) != s.r.spec.Shard(rec.Seq) || rec.End() > s.r.next {
		return false
	}
	sh := s.open[s.r.spec.Shard(rec.Seq)]
	for seq := rec.Seq; seq < rec.End(); seq++ {
		if _, held := sh.slots[seq]; held {
			return false
		}
	}
	for _, l := range sh.spoilt {
		if rec.Seq < l.End() && l.Seq < rec.End() {
			return false
		}
	}
	sh.spoilt = append(sh.spoilt, rec.Loss)
	return true
}

// losing reports whether a frame's loss is on its way to the ledger.
func (s *shards) losing(seq uint64) bool {
	sh := s.open[s.r.spec.Shard(seq)]
	return sh != nil && slices.ContainsFunc(sh.loss, func(l *loss) bool { return seq >= l.Seq && seq < l.End() })
}

// settle takes a member's word that a range is in its ledger.
func (s *shards) settle(m *member, rec frames.LossRecord) (frames.Loss, bool) {
	if !s.owns(m, rec) {
		return frames.Loss{}, false
	}
	sh := s.open[s.r.spec.Shard(rec.Seq)]
	i := slices.IndexFunc(sh.loss, func(l *loss) bool { return l.sent && l.Loss == rec.Loss })
	if i < 0 {
		return frames.Loss{}, false
	}
	s.book.settle(sh.loss[i])
	sh.loss = slices.Delete(sh.loss, i, i+1)
	s.send(sh)
	return rec.Loss, true
}

// whole reports whether nothing more comes into a shard.
func (s *shards) whole(no uint64) bool {
	return s.r.ended || s.r.next >= (no+1)*s.r.spec.ShardFrames
}

// seal takes a member's word that a shard is complete.
func (s *shards) seal(m *member, a frames.Assignment) bool {
	sh := s.open[a.Shard]
	if sh == nil || sh.owner != m || sh.epoch != a.Epoch || !s.whole(a.Shard) || len(sh.slots) > 0 || len(sh.loss) > 0 {
		return false
	}
	delete(s.open, a.Shard)
	m.owned--
	s.ahead[a.Shard] = true
	n := s.r.slab.Sealed()
	for s.ahead[n] {
		delete(s.ahead, n)
		n++
	}
	s.r.slab.SetSealed(n)
	s.adopt()
	return true
}

// remind names those shards to their owners again of which every frame so far is dealt with: one that sealed its last
// shard before the run's end was known here was not believed.
func (s *shards) remind() {
	for no, sh := range s.open {
		if sh.owner != nil && sh.owner.ready && len(sh.slots) == 0 && len(sh.loss) == 0 {
			sh.owner.out.assign(frames.Assignment{Shard: no, Epoch: sh.epoch})
		}
	}
}

// claim confirms a shard that a member still has. It must be the last one to which the shard was given, by this acquire
// or one before: of a writer that was stopped, lost its shard and woke up the claim is as old as its epoch.
func (s *shards) claim(m *member, c link.Claim) {
	sh := s.open[c.Shard]
	if sh != nil && sh.owner == nil && sh.epoch != 0 && sh.epoch == c.Epoch {
		sh.owner = m
		m.owned++
	}
}

func (s *shards) ready(m *member) {
	least, others := 0, false
	for _, o := range s.r.d.members {
		if o != m && s.r.d.takes(o, s.g, time.Now()) && (!others || s.sent[o.name] < least) {
			least, others = s.sent[o.name], true
		}
	}
	s.sent[m.name] = max(s.sent[m.name], least)
	for _, no := range slices.Sorted(maps.Keys(s.open)) {
		if sh := s.open[no]; sh.owner == m {
			s.resend(sh, true)
		}
	}
	s.adopt()
}

// adopt gives orphans an owner, the oldest first, as long as there is one that has room.
func (s *shards) adopt() {
	for ; s.orphan < s.top; s.orphan++ {
		sh := s.open[s.orphan]
		if sh == nil || sh.owner != nil {
			continue
		}
		m := s.pick()
		if m == nil {
			return
		}
		s.assign(sh, m)
	}
}

// filling reports whether a member owns no shard but one that frames still come into.
func (s *shards) filling(m *member) bool {
	for no, sh := range s.open {
		if sh.owner == m && s.whole(no) {
			return false
		}
	}
	return true
}

func (s *shards) gone(m *member) {
	for _, sh := range s.open {
		if sh.owner == m {
			sh.owner = nil
			s.orphan = min(s.orphan, sh.no)
		}
	}
	m.outstanding, m.owned = 0, 0
}

func (s *shards) advance(time.Time) {
	s.adopt()
	for _, sh := range s.open {
		s.send(sh)
	}
}

func (s *shards) quiet() bool {
	return len(s.open) == 0 && (!s.r.ended || s.r.slab.Sealed() >= s.r.spec.Shards(s.r.slab.Captured()))
}

func (s *shards) held(f func(*member, int)) {
	for _, sh := range s.open {
		for _, slot := range sh.slots {
			f(sh.owner, slot)
		}
	}
}
