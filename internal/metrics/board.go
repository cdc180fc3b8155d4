package metrics

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// forget is how long a process is shown that says nothing any more.
	forget = 10 * time.Second
	// most bounds the processes on a board: anybody may publish under any name.
	most = 256
	// acquire is the name of the process that tells of the camera.
	acquire = "acquire"
)

// Board has the newest status of each process of one camera. It may be used concurrently, and never blocks for long.
type Board struct {
	name    string // the camera's
	own     bool   // of one process, which need not be forgotten
	cameras []column[camera]
	workers []column[worker]

	mu      sync.Mutex // guards what follows
	acquire *camera
	members map[string]worker
	ails    func() string
}

// column is a metric of the table as Prometheus knows it.
type column[T any] struct {
	metric[T]
	desc *prometheus.Desc
}

var _ prometheus.Collector = (*Board)(nil)

// NewBoard returns an empty board of a camera. own says that it is of one process only, which tells of itself.
func NewBoard(name string, own bool) *Board {
	return &Board{name: name, own: own, cameras: columns(cameraTable()), workers: columns(memberTable()), members: map[string]worker{}}
}

func columns[T any](table []metric[T]) []column[T] {
	list := make([]column[T], len(table))
	for i, m := range table {
		list[i] = column[T]{m, prometheus.NewDesc(m.name, m.help, append([]string{"camera", "process"}, m.labels...), nil)}
	}
	return list
}

// Watch sets who says what ails the process beside what its status says, "" for nothing. ails does not block.
func (b *Board) Watch(ails func() string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ails = ails
}

// Camera takes acquire's status.
func (b *Board) Camera(s bus.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(s.Members) > most {
		s.Members = s.Members[:most]
	}
	var before camera
	if b.acquire != nil {
		before = *b.acquire
	}
	after := before.next(s, time.Now())
	b.acquire = &after
}

// Member takes a member's status.
func (b *Board) Member(s bus.MemberStatus) {
	if frames.ValidCamera(s.Process) != nil || s.Process == acquire {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.members[s.Process]
	if !known && len(b.members) >= most {
		return
	}
	b.members[s.Process] = before.next(s, time.Now())
}

// Message takes a message of the status subject, and passes over what is none.
func (b *Board) Message(data []byte) {
	var head bus.Envelope
	if json.Unmarshal(data, &head) != nil || head.Camera != b.name {
		return
	}
	switch head.Type {
	case bus.TypeStatus:
		var s bus.Status
		if json.Unmarshal(data, &s) == nil {
			b.Camera(s)
		}
	case bus.TypeMember:
		var s bus.MemberStatus
		if json.Unmarshal(data, &s) == nil {
			b.Member(s)
		}
	}
}

// Describe implements [prometheus.Collector]: which metrics there are depends on who is there.
func (b *Board) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (b *Board) Collect(ch chan<- prometheus.Metric) {
	b.mu.Lock()
	var told *camera
	if b.acquire != nil && b.fresh(b.acquire.at) {
		told = b.acquire // never changed, only replaced
	}
	members := make([]worker, 0, len(b.members))
	for name, w := range b.members {
		if !b.fresh(w.at) {
			delete(b.members, name)
			continue
		}
		members = append(members, w)
	}
	b.mu.Unlock()
	if told != nil {
		for _, c := range b.cameras {
			c.of(*told, emitter{ch, c.desc, c.kind, []string{b.name, acquire}})
		}
	}
	for _, w := range members {
		for _, c := range b.workers {
			c.of(w, emitter{ch, c.desc, c.kind, []string{b.name, w.Process}})
		}
	}
}

// fresh reports whether a status is shown. One's own always is: its time says how old it is.
func (b *Board) fresh(at time.Time) bool { return b.own || time.Since(at) < forget }

// emitter makes Prometheus' metrics of values.
type emitter struct {
	ch     chan<- prometheus.Metric
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string
}

var _ values = emitter{}

func (e emitter) set(v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.desc, e.kind, v, e.all(labels)...)
}

func (e emitter) histogram(h *run.Histogram) {
	if h == nil || len(h.Counts) != run.Bounds()+1 {
		return
	}
	buckets := make(map[float64]uint64, run.Bounds())
	var n uint64
	for i := range run.Bounds() {
		n += h.Counts[i]
		buckets[run.Bound(i).Seconds()] = n
	}
	n += h.Counts[run.Bounds()]
	e.ch <- prometheus.MustNewConstHistogram(e.desc, n, seconds(h.SumNS), buckets, e.all(nil)...)
}

// all are the labels' values. What others have sent may be no text.
func (e emitter) all(labels []string) []string {
	out := slices.Concat(e.labels, labels)
	for i := range out {
		out[i] = strings.ToValidUTF8(out[i], "?")
	}
	return out
}
