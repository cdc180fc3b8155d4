package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/store"
)

// keeper brings what the analysers publish into the store. One whose sender waits for an answer is durable before it
// gets one; without an answer it is sent again, so a number that was kept already is only answered.
type keeper struct {
	writer *Writer
	logger *slog.Logger
	// kept is the newest number of each process's results in its newest run, by kind. The subscriptions' callbacks
	// for one kind run one at a time; each kind has a map of its own.
	kept map[string]map[string]numbered
}

type numbered struct {
	run string
	n   uint64
}

// KeepResults brings what a camera's analysers publish into the store of the run that it is of, while this writer is the
// run's primary. stop ends that.
func (w *Writer) KeepResults(nc *nats.Conn, camera string) (stop func(), err error) {
	r := &keeper{writer: w, logger: w.cfg.Logger}
	var subs []*nats.Subscription
	stop = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // an error says that the connection is closed
		}
	}
	r.kept = map[string]map[string]numbered{store.Spatial: {}, store.Temporal: {}}
	for kind, subject := range map[string]string{
		store.Spatial: bus.SpatialSubject(camera), store.Temporal: bus.TemporalSubject(camera),
	} {
		s, err := nc.Subscribe(subject, func(m *nats.Msg) { r.take(kind, m) })
		if err != nil {
			stop()
			return nil, fmt.Errorf("subscribe to the analysers' results: %w", err)
		}
		subs = append(subs, s)
	}
	return stop, nil
}

func (r *keeper) take(kind string, m *nats.Msg) {
	var head struct {
		bus.Envelope
		N uint64 `json:"n"`
	}
	if err := json.Unmarshal(m.Data, &head); err != nil {
		r.logger.Debug("a result that does not decode is ignored", "subject", m.Subject, "error", err)
		return
	}
	last := r.kept[kind][head.Process]
	repeated := last.run == head.Run.String() && head.N <= last.n
	if !repeated {
		switch err := r.writer.Result(kind, head.Run, m.Data, m.Reply != ""); {
		case errors.Is(err, ErrNotMine):
			return
		case err != nil:
			r.logger.Warn("a result is not in the store", "kind", kind, "error", err)
			return
		}
		const most = 1024 // a camera has far fewer analysers
		if len(r.kept[kind]) >= most {
			clear(r.kept[kind])
		}
		r.kept[kind][head.Process] = numbered{head.Run.String(), head.N}
	}
	if m.Reply != "" {
		if err := m.Respond([]byte("{}")); err != nil {
			r.logger.Debug("an answer is lost: the result will come again", "error", err)
		}
	}
}
