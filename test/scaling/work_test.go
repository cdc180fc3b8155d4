package scaling_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// work is what members have said on the link that they have done.
type work struct {
	mu       sync.Mutex                         // guards what follows
	seen     map[[2]uint64]bool                 // packets, by connection and number: some are sent again
	released map[string]map[uint64]frames.State // by member and seq
}

// watch listens to what a camera's members say.
func watch(t *testing.T, url, camera string) *work {
	t.Helper()
	w := &work{seen: map[[2]uint64]bool{}, released: map[string]map[uint64]frames.State{}}
	nc := programs.Connect(t, url)
	if _, err := nc.Subscribe(bus.LinkPrefix(camera)+"up.>", func(m *nats.Msg) { w.packet(t, m) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *work) packet(t *testing.T, m *nats.Msg) {
	p, err := frames.DecodePacket(m.Data)
	if err != nil {
		t.Errorf("on %s: %v", m.Subject, err)
		return
	}
	if p.Kind != frames.KindReleases {
		return
	}
	rels, err := frames.DecodeReleases(nil, p.Body)
	if err != nil {
		t.Errorf("on %s: %v", m.Subject, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	id := [2]uint64{p.Conn, p.N}
	if w.seen[id] {
		return
	}
	w.seen[id] = true
	name := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	if w.released[name] == nil {
		w.released[name] = map[uint64]frames.State{}
	}
	for _, r := range rels {
		w.released[name][r.Seq] = r.Outcome
	}
}

// shared reports whether each of the members has released frames from a seq on.
func (w *work) shared(members []string, from uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range members {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(w.released[name])), func(seq uint64) bool { return seq >= from }) {
			return false
		}
	}
	return true
}

// by are the members that have released a frame.
func (w *work) by(seq uint64) (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, seqs := range w.released {
		if _, ok := seqs[seq]; ok {
			names = append(names, name)
		}
	}
	return names
}
