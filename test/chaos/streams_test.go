package chaos_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sluicedaq/sluice/test/programs"
)

// streamed marks the seeds of rounds in which pixels go through JetStream. What other seeds play does not depend on what
// such rounds have.
const streamed = 1 << 63

// streams are what a round has beside others in which pixels go through JetStream.
type streams struct {
	servers int // of the broker: 1 or 3
	away    map[string]away
	acquire []string // its options
}

// away is a member that gets its pixels through JetStream.
type away struct {
	// lockless ones have shared memory of their own, as on another host: that they died shows by their silence alone.
	lockless bool
	options  []string
}

// under is what a member is run by.
func (a away) under() []string {
	if a.lockless {
		return programs.Elsewhere()
	}
	return nil
}

// newStreams makes what goes through JetStream, for a plan that has all else.
func newStreams(r *rand.Rand, p plan) *streams {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	s := &streams{servers: 1, away: map[string]away{}}
	replicas := "1"
	if r.IntN(3) == 0 {
		s.servers, replicas = 3, one("1", "3", "3")
	}
	lost := p.hung + time.Duration(r.Int64N(int64(3*time.Second))).Round(time.Millisecond)
	s.acquire = []string{
		"--link", "auto", "--stream-storage", one("memory", "file"), "--stream-replicas", replicas,
		"--stream-bytes", fmt.Sprintf("%dMiB", 1+r.IntN(64)), "--lost-after", lost.String(),
	}
	names := append(p.names("writer", p.writers), p.names("analyze", p.analysers)...)
	first := r.IntN(p.writers) // one writer at least
	for i, name := range names {
		a := away{lockless: r.IntN(2) == 0, options: []string{"--receive-buffer", one("1MiB", "8MiB", "64MiB")}}
		if !a.lockless {
			a.options = append(a.options, "--link", "jetstream")
		}
		if r.IntN(3) > 0 || i == first {
			s.away[name] = a
		}
	}
	return s
}

func (s *streams) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d servers, %q", s.servers, s.acquire)
	for _, name := range slices.Sorted(maps.Keys(s.away)) {
		fmt.Fprintf(&b, ", %s", name)
		if s.away[name].lockless {
			b.WriteString(" on another host")
		}
		fmt.Fprintf(&b, " %q", s.away[name].options)
	}
	return b.String()
}

// name is what the table calls a fault: one of three servers is not the broker.
func (s *streams) name(k kind) kind {
	if s != nil && s.servers > 1 && slices.Contains([]kind{killBroker, brokerAway, stopBroker, hangBroker}, k) {
		return k + ", one server of three"
	}
	return k
}
