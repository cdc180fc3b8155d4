package capture

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Herald publishes what happens, in one order, and hands each event of a run to its event log. Telling it never
// blocks: those who tell hold locks.
type Herald struct {
	publisher *bus.Publisher
	logger    *slog.Logger
	// log takes an event's line for the run's event log.
	log func(line []byte)

	mu   sync.Mutex // guards what follows
	news []news
	n    map[frames.RunID]func() uint64 // gives the number of a run's next event
	lost map[lossKind]*lossSum
	told map[bus.Kind]uint64 // events
	kick chan struct{}
	idle chan struct{} // closed when news is empty and nothing is being told
}

type news struct {
	run          frames.RunID
	event        *bus.Event
	backpressure *bus.Backpressure
	holder       func() dispatch.Holding
	over         bool // the run's events are numbered no longer
}

// NewHerald returns a Herald; Run makes it work.
func NewHerald(p *bus.Publisher, logger *slog.Logger) *Herald {
	h := &Herald{publisher: p, logger: logger, n: map[frames.RunID]func() uint64{}, lost: map[lossKind]*lossSum{}, told: map[bus.Kind]uint64{}, kick: make(chan struct{}, 1), idle: make(chan struct{})}
	close(h.idle)
	return h
}

// Counts are the events so far by kind.
func (h *Herald) Counts() map[bus.Kind]uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.told)
}

// LogTo sets who takes events' lines. It is called before Run.
func (h *Herald) LogTo(f func(line []byte)) { h.log = f }

// Begin has the events of a run numbered: next gives each its number. Other events have the number 0.
func (h *Herald) Begin(run frames.RunID, next func() uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n[run] = next
}

// End says that what was told of a run until now is the last that is numbered.
func (h *Herald) End(run frames.RunID) { h.tell(news{run: run, over: true}) }

// Event tells of an event.
func (h *Herald) Event(run frames.RunID, e bus.Event) { h.tell(news{run: run, event: &e}) }

// Backpressure tells of a transition; holder is asked when it is published.
func (h *Herald) Backpressure(run frames.RunID, b bus.Backpressure, holder func() dispatch.Holding) {
	h.tell(news{run: run, backpressure: &b, holder: holder})
}

func (h *Herald) tell(n news) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.over || n.event != nil && (n.event.Kind == bus.EventDrained || n.event.Kind == bus.EventFinished) {
		h.tellLost(func(k lossKind, _ *lossSum) bool { return k.run == n.run })
	}
	h.queue(n)
}

// queue has the news published. h.mu is held.
func (h *Herald) queue(n news) {
	if len(h.news) == 0 {
		select {
		case <-h.idle:
			h.idle = make(chan struct{})
		default:
		}
	}
	h.news = append(h.news, n)
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends, and then what is left.
func (h *Herald) Run(ctx context.Context) {
	tick := time.NewTicker(lossPeriod / 4)
	defer tick.Stop()
	for {
		h.drain()
		select {
		case <-ctx.Done():
			h.gathered(0)
			h.drain()
			return
		case <-tick.C:
			h.gathered(lossPeriod)
		case <-h.kick:
		}
	}
}

// gathered tells of the losses of the kinds that were not told of for so long.
func (h *Herald) gathered(since time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tellLost(func(_ lossKind, s *lossSum) bool { return time.Since(s.told) >= since })
}

func (h *Herald) drain() {
	for {
		h.mu.Lock()
		list := h.news
		h.news = nil
		if len(list) == 0 {
			select {
			case <-h.idle:
			default:
				close(h.idle)
			}
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		for _, n := range list {
			h.publish(n)
		}
	}
}

// Flush waits until everything told so far is published.
func (h *Herald) Flush(ctx context.Context) {
	h.mu.Lock()
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (h *Herald) publish(n news) {
	if n.backpressure != nil {
		if n.holder != nil {
			most := n.holder()
			n.backpressure.Holder, n.backpressure.HolderMember = most.Group, most.Member
		}
		if err := h.publisher.Backpressure(n.run, n.backpressure); err != nil {
			h.logger.Debug("transition not published", "error", err)
		}
		return
	}
	h.mu.Lock()
	if !n.over {
		h.told[n.event.Kind]++
	}
	next := h.n[n.run]
	if n.over {
		delete(h.n, n.run)
	}
	h.mu.Unlock()
	if n.over {
		return
	}
	if next != nil {
		n.event.N = next()
	}
	line, err := h.publisher.Event(n.run, n.event)
	if err != nil {
		h.logger.Debug("event not published", "kind", n.event.Kind, "error", err)
	}
	if h.log != nil && !n.run.IsZero() && len(line) > 0 {
		h.log(line)
	}
	level := slog.LevelInfo
	switch n.event.Kind {
	case bus.EventShardSealed, bus.EventPaused, bus.EventResumed:
		level = slog.LevelDebug
	case bus.EventFramesLost, bus.EventMemberLost, bus.EventMemberHung, bus.EventCameraStalled, bus.EventDiskLow, bus.EventRefused:
		level = slog.LevelWarn
	case bus.EventCameraFailed, bus.EventFault:
		level = slog.LevelError
	}
	h.logger.Log(context.Background(), level, n.event.Text, "event", n.event.Kind, "run", n.run.Short())
}

// Note turns a dispatcher's fact into an event.
func (h *Herald) Note(f dispatch.Fact) {
	m := &bus.MemberEvent{Name: f.Member, Group: f.Group, PID: f.PID, Frames: uint64(f.Frames), Reason: f.Reason}
	e := bus.Event{Member: m}
	switch f.Kind {
	case dispatch.MemberJoined:
		e.Kind, e.Text = bus.EventMemberJoined, fmt.Sprintf("%s joined %s", f.Member, f.Group)
	case dispatch.MemberRestarted:
		e.Kind, e.Text = bus.EventMemberRestarted, fmt.Sprintf("%s is back in %s", f.Member, f.Group)
	case dispatch.MemberLost:
		e.Kind, e.Text = bus.EventMemberLost, fmt.Sprintf("%s of %s is gone with %d frames in hand: %s", f.Member, f.Group, f.Frames, f.Reason)
	case dispatch.MemberLeft:
		e.Kind, e.Text = bus.EventMemberLeft, fmt.Sprintf("%s has left %s", f.Member, f.Group)
	case dispatch.MemberFailed:
		e.Kind, e.Text = bus.EventFault, fmt.Sprintf("%s cannot go on: %s", f.Member, f.Reason)
	case dispatch.MemberRefused:
		e.Kind, e.Text = bus.EventRefused, fmt.Sprintf("%s refused the run: %s", f.Member, f.Reason)
	case dispatch.Reclaimed:
		e.Kind, e.Text, e.Seq = bus.EventMemberHung, fmt.Sprintf("frame %d was taken back from %s", f.Seq, f.Member), f.Seq
		m.Reason = bus.ReasonTakenBack // seq alone would not tell: a frame may have number 0
	case dispatch.ShardSealed:
		e = bus.Event{Kind: bus.EventShardSealed, Text: fmt.Sprintf("shard %d sealed by %s", f.Shard, f.Member)}
		e.Shard = &bus.ShardEvent{Shard: f.Shard, Epoch: f.Epoch, Writer: f.Member, ReadableUntilSeq: f.ReadableUntil}
	case dispatch.FramesLost:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.lose(f.Run, f.Loss)
		return
	}
	h.Event(f.Run, e)
}
