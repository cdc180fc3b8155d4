package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/dispatch/dispatchtest"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestRandom runs random schedules: members join, hold, hang, lose their links and die, acquire is killed and started
// again, packets are lost, doubled and late, while frames and losses come. In the end every frame is durable or
// ledgered, each shard is sealed under its last epoch, and every slot and byte is free.
func TestRandom(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newSchedule(t, seed).run()
		})
	}
}

type schedule struct {
	*host
	rnd     *rand.Rand
	members []*player
	named   int
}

type player struct {
	*dispatchtest.Consumer
	name, group string
	hung        bool
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	chances := linktest.Chances{Seed: seed, Drop: 0.05, Double: 0.05, Delay: 0.1, Most: 3 * time.Millisecond}
	s := &schedule{rnd: rand.New(rand.NewPCG(seed, 1))}
	groups := [][]Group{{writers, newest}, {writers, everyone}, {writers, everyone, newest}, {newest, writers}}[seed%4]
	s.host = newHost(t, setup{
		groups: groups, slots: 6 + int(seed%5), spare: 3, k: 3 + seed%3, fate: chances.Rule(),
		hung: 100 * time.Millisecond, reclaim: 60 * time.Millisecond,
	})
	return s
}

func (s *schedule) run() {
	s.join("writer")
	s.join("writer")
	for _, g := range s.cfg.groups {
		if !g.Sharded {
			s.join(g.Name)
		}
	}
	s.arm()
	for range 250 {
		s.step()
		s.checkAccounts()
		if s.t.Failed() {
			return
		}
	}
	for _, g := range s.cfg.groups {
		s.join(g.Name)
	}
	for _, p := range s.members {
		p.Wake()
		p.Answer(frames.Durable)
	}
	s.drain()
	a := s.Account()
	sum := a.Durable
	for _, n := range a.Lost {
		sum += n
	}
	if sum != a.Captured || a.Captured != s.seq || a.InFlight != 0 {
		s.t.Errorf("account %+v of %d frames", a, s.seq)
	}
	for state, n := range s.disk.Counts() {
		if state == frames.Durable && n != a.Durable || state != frames.Durable && n != a.Lost[state] {
			s.t.Errorf("%d frames are %s on the disk; account %+v", n, state, a)
		}
	}
	epochs := map[uint64]uint64{}
	for _, f := range s.told(ShardSealed) {
		if f.Epoch < epochs[f.Shard] {
			s.t.Errorf("shard %d was sealed under epoch %d after %d", f.Shard, f.Epoch, epochs[f.Shard])
		}
		epochs[f.Shard] = f.Epoch
	}
	for shard, epoch := range epochs {
		if e := s.disk.Sealed(shard); e != epoch {
			s.t.Errorf("shard %d was sealed under epoch %d, on the disk under %d", shard, epoch, e)
		}
	}
	if n := uint64(len(epochs)); n != s.spec.Shards(s.seq) {
		s.t.Errorf("%d shards were sealed, want %d", n, s.spec.Shards(s.seq))
	}
}

// step does one thing.
func (s *schedule) step() {
	switch n := s.rnd.IntN(100); {
	case n < 60:
		s.frames(1 + s.rnd.IntN(4))
	case n < 66:
		s.skip(1+s.rnd.Uint64N(2*s.cfg.k), frames.Missed)
	case n < 68:
		if p := s.any(); p != nil {
			p.Hold()
		}
	case n < 80:
		if p := s.any(); p != nil {
			p.Answer(frames.Durable)
		}
	case n < 84:
		s.kill()
	case n < 90:
		if len(s.members) < 7 {
			s.join(s.cfg.groups[s.rnd.IntN(len(s.cfg.groups))].Name)
		}
	case n < 94:
		if p := s.any(); p != nil {
			if p.hung = !p.hung; p.hung {
				p.Hang()
			} else {
				p.Wake()
			}
		}
	case n < 98:
		if p := s.any(); p != nil {
			p.Reset()
		}
	default:
		s.again()
	}
}

// frames captures n frames, dropping those for which there is no room for a moment.
func (s *schedule) frames(n int) {
	for range n {
		ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Millisecond)
		err := s.budget.Acquire(ctx, int64(s.slab.Stride()))
		cancel()
		if err == nil {
			s.capture()
		} else {
			s.skip(1, frames.Dropped)
		}
	}
}

func (s *schedule) any() *player {
	if len(s.members) == 0 {
		return nil
	}
	return s.members[s.rnd.IntN(len(s.members))]
}

func (s *schedule) join(group string) {
	s.t.Helper()
	s.named++
	name := fmt.Sprintf("%s%d", group, s.named%5) // names come again
	for _, p := range s.members {
		if p.name == name {
			return
		}
	}
	c := dispatchtest.Config{
		Group: group, Name: name, Hold: s.rnd.IntN(8) == 0,
		Fate: linktest.Chances{Seed: uint64(s.named), Drop: 0.05, Double: 0.05, Delay: 0.1, Most: 3 * time.Millisecond}.Rule(),
	}
	if group == "writer" {
		c.Disk = s.disk
	}
	s.members = append(s.members, &player{Consumer: s.consumer(c), name: name, group: group})
}

func (s *schedule) kill() {
	if len(s.members) == 0 {
		return
	}
	i := s.rnd.IntN(len(s.members))
	s.members[i].Die()
	s.members = append(s.members[:i], s.members[i+1:]...)
}

// again kills acquire and starts it again. Members that hang then come back later.
func (s *schedule) again() {
	for _, p := range s.members {
		p.Wake()
		p.hung = false
	}
	writer := false
	for _, p := range s.members {
		writer = writer || p.group == "writer"
	}
	if !writer {
		return
	}
	s.restart()
	s.resume(len(s.members))
}
