package chaos_test

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// watch looks at a round from outside, all the time.
type watch struct {
	camera string
	url    func() string // of the broker, empty while it is not known

	mu     sync.Mutex // guards what follows
	latest bus.Status // the newest with a run, or the newest at all
	at     time.Time  // when it came
	events map[frames.RunID][]bus.Kind
	gains  []gain
	nc     *nats.Conn
}

// gain is a moment at which more frames were seen to be durable.
type gain struct {
	at      time.Time
	durable uint64
}

func newWatch(camera string, url func() string) *watch {
	return &watch{camera: camera, url: url, events: map[frames.RunID][]bus.Kind{}}
}

// run watches until ctx ends.
func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var client *bus.Client
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.close()
			return
		}
		if client == nil {
			if client = w.connect(); client == nil {
				continue
			}
		}
		asking, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		st, err := client.Status(asking, bus.RunRequest{})
		cancel()
		if err == nil {
			w.take(st)
		}
	}
}

// connect connects to the broker once its address is known, whether it is there or not. What is said there comes later.
func (w *watch) connect() *bus.Client {
	url := w.url()
	if url == "" {
		return nil
	}
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(0, 0))
	if err != nil {
		return nil
	}
	w.mu.Lock()
	w.nc = nc
	w.mu.Unlock()
	if _, err := nc.Subscribe(bus.EventsSubject(w.camera), w.event); err != nil {
		return nil
	}
	return bus.NewClient(nc, w.camera)
}

func (w *watch) close() {
	w.mu.Lock()
	nc := w.nc
	w.mu.Unlock()
	if nc != nil {
		nc.Close()
	}
}

func (w *watch) event(m *nats.Msg) {
	var e bus.Event
	if json.Unmarshal(m.Data, &e) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events[e.Run] = append(w.events[e.Run], e.Kind)
}

func (w *watch) take(st bus.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := uint64(0)
	if n := len(w.gains); n > 0 && w.latest.Run == st.Run {
		before = w.gains[n-1].durable
	}
	if st.Durable > before {
		w.gains = append(w.gains, gain{time.Now(), st.Durable})
	}
	w.latest, w.at = st, time.Now()
}

// status is the newest that acquire has said.
func (w *watch) status() bus.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// age is how old the newest status is.
func (w *watch) age() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.at).Round(time.Millisecond)
}

// told reports whether any run's event was heard.
func (w *watch) told(kinds ...bus.Kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, heard := range w.events {
		for _, h := range heard {
			for _, k := range kinds {
				if h == k {
					return true
				}
			}
		}
	}
	return false
}

// recovery is the time from a moment to the next frame that was seen to become durable after it; ok is false where
// there was none.
func (w *watch) recovery(from time.Time) (d time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.gains {
		if g.at.After(from) {
			return g.at.Sub(from), true
		}
	}
	return 0, false
}
