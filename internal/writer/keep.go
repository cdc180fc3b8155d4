package writer

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	// Results beyond these wait no more and are lost: the final one comes again.
	pendingResults = 4096
	pendingBytes   = 16 << 20
	// keptResults is how many results are remembered, by what is in them, to know one that comes again.
	keptResults = 4096
	// resultBytes a second go to the disk at most, and resultBurst at once: analysers need a small part of it.
	resultBytes = 4 << 20
	resultBurst = 16 << 20
)

// keeper brings what the analysers publish into the store. One whose sender waits for an answer is durable before it
// gets one; without an answer it is sent again, so what was kept already is only answered. Anybody may publish on these
// subjects: what is no result, or too much, is refused.
type keeper struct {
	writer *Writer
	camera string
	logger *slog.Logger
	limit  *rate.Limiter
	// kept has what was kept last, by kind. The subscriptions' callbacks for one kind run one at a time; each kind has
	// an entry of its own.
	kept map[string]*memory
}

// memory knows the newest keptResults of what it was told.
type memory struct {
	has   map[[sha256.Size]byte]bool
	order [][sha256.Size]byte // a ring
	next  int
}

func newMemory() *memory { return &memory{has: map[[sha256.Size]byte]bool{}} }

func (m *memory) add(sum [sha256.Size]byte) {
	if len(m.order) < keptResults {
		m.order = append(m.order, sum)
	} else {
		delete(m.has, m.order[m.next])
		m.order[m.next] = sum
		m.next = (m.next + 1) % keptResults
	}
	m.has[sum] = true
}

// errResult is about a message that is no result.
var errResult = errors.New("no result of an analyser")

// KeepResults brings what a camera's analysers publish into the store of the run that it is of, while this writer is the
// run's primary. stop ends that.
func (w *Writer) KeepResults(nc *nats.Conn, camera string) (stop func(), err error) {
	r := &keeper{
		writer: w, camera: camera, logger: w.cfg.Logger, limit: rate.NewLimiter(resultBytes, resultBurst),
		kept: map[string]*memory{store.Spatial: newMemory(), store.Temporal: newMemory()},
	}
	var subs []*nats.Subscription
	stop = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // an error says that the connection is closed
		}
	}
	for kind, subject := range map[string]string{
		store.Spatial: bus.SpatialSubject(camera), store.Temporal: bus.TemporalSubject(camera),
	} {
		s, err := nc.Subscribe(subject, func(m *nats.Msg) { r.take(kind, m) })
		if err == nil {
			subs = append(subs, s)
			err = s.SetPendingLimits(pendingResults, pendingBytes)
		}
		if err != nil {
			stop()
			return nil, fmt.Errorf("subscribe to the analysers' results: %w", err)
		}
	}
	return stop, nil
}

// read returns the run that a result is of.
func (r *keeper) read(kind string, m *nats.Msg) (frames.RunID, error) {
	var head bus.Envelope
	if err := json.Unmarshal(m.Data, &head); err != nil {
		return frames.RunID{}, fmt.Errorf("%w: %w", errResult, err)
	}
	if head.V != bus.Version || head.Type != bus.Type("spectrum."+kind) || head.Camera != r.camera || frames.ValidCamera(head.Process) != nil {
		return frames.RunID{}, fmt.Errorf("%w: version %d, type %q, camera %q, process %q", errResult, head.V,
			refusal.Clip(string(head.Type), 64), refusal.Clip(head.Camera, 64), refusal.Clip(head.Process, 64))
	}
	if !bus.Inbox(m.Reply) {
		return frames.RunID{}, fmt.Errorf("%w: its answer is to go to %q", errResult, refusal.Clip(m.Reply, 64))
	}
	return head.Run, nil
}

func (r *keeper) take(kind string, m *nats.Msg) {
	book := r.writer.cfg.Refusals
	run, err := r.read(kind, m)
	if err != nil {
		book.Note(refusal.Result, err)
		return
	}
	sum := sha256.Sum256(m.Data)
	if !r.kept[kind].has[sum] {
		if !r.writer.mine(run) {
			book.Count(refusal.Stale, 1) // another writer keeps it, or nobody
			return
		}
		if !r.limit.AllowN(time.Now(), len(m.Data)) {
			book.Note(refusal.Result, fmt.Errorf("%w: more than %d bytes of results a second", errResult, resultBytes))
			return
		}
		switch err := r.writer.Result(kind, run, m.Data, m.Reply != ""); {
		case errors.Is(err, ErrNotMine):
			return
		case err != nil:
			r.logger.Warn("a result is not in the store", "kind", kind, "error", err)
			return
		}
		r.kept[kind].add(sum)
	}
	if m.Reply != "" {
		if err := m.Respond([]byte("{}")); err != nil {
			r.logger.Debug("an answer is lost: the result will come again", "error", err)
		}
	}
}
