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

// work is what acquire has given to its members, and what they have said on the link that they have done.
type work struct {
	camera string
	sub    *nats.Subscription
	ended  chan struct{} // closed when the last message was looked at

	mu       sync.Mutex                         // guards what follows
	seen     map[[2]uint64]bool                 // packets of releases, by connection and number: some are sent again
	released map[string]map[uint64]frames.State // by member and seq
	owners   map[uint64]map[uint64]string       // by shard and epoch
}

// watch listens to a camera's link.
func watch(t *testing.T, url, camera string) *work {
	t.Helper()
	w := &work{
		camera: camera, ended: make(chan struct{}), seen: map[[2]uint64]bool{},
		released: map[string]map[uint64]frames.State{}, owners: map[uint64]map[uint64]string{},
	}
	nc := programs.Connect(t, url)
	var err error
	if w.sub, err = nc.Subscribe(bus.LinkPrefix(camera)+"*.*.*", func(m *nats.Msg) { w.packet(t, m) }); err != nil {
		t.Fatal(err)
	}
	w.sub.SetClosedHandler(func(string) { close(w.ended) })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// end ends the watch when all that the broker has is looked at.
func (w *work) end(t *testing.T) {
	t.Helper()
	if err := w.sub.Drain(); err != nil {
		t.Fatal(err)
	}
	<-w.ended
}

func (w *work) packet(t *testing.T, m *nats.Msg) {
	direction, member, _ := strings.Cut(m.Subject[len(bus.LinkPrefix(w.camera)):], ".")
	if direction != "up" && direction != "down" {
		return
	}
	name := member[strings.IndexByte(member, '.')+1:]
	p, err := frames.DecodePacket(m.Data)
	if err != nil {
		t.Errorf("on %s: %v", m.Subject, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case direction == "down" && p.Kind == frames.KindAssign:
		as, err := frames.DecodeAssignments(nil, p.Body)
		if err != nil {
			t.Errorf("on %s: %v", m.Subject, err)
		}
		for _, a := range as {
			if w.owners[a.Shard] == nil {
				w.owners[a.Shard] = map[uint64]string{}
			}
			w.owners[a.Shard][a.Epoch] = name
		}
	case direction == "up" && p.Kind == frames.KindReleases:
		w.releases(t, m, name, p)
	}
}

// releases notes what a member has released. The caller holds mu.
func (w *work) releases(t *testing.T, m *nats.Msg, name string, p frames.Packet) {
	rels, err := frames.DecodeReleases(nil, p.Body)
	if err != nil {
		t.Errorf("on %s: %v", m.Subject, err)
		return
	}
	id := [2]uint64{p.Conn, p.N}
	if w.seen[id] {
		return
	}
	w.seen[id] = true
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

// begun is the member that a shard was given to first.
func (w *work) begun(shard uint64) string { return w.owner(shard, slices.Min[[]uint64]) }

// last is the member that a shard was given to last.
func (w *work) last(shard uint64) string { return w.owner(shard, slices.Max[[]uint64]) }

func (w *work) owner(shard uint64, which func([]uint64) uint64) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	owners := w.owners[shard]
	if len(owners) == 0 {
		return ""
	}
	return owners[which(slices.Collect(maps.Keys(owners)))]
}
