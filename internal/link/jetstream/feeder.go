package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/pkg/backpressure"
)

const (
	// askTime bounds a request to the broker.
	askTime = 3 * time.Second
	// openTime bounds one attempt to connect, and to make the stream and a consumer. What a cluster is asked while it elects a
	// leader is lost: so a silent broker is soon asked again.
	openTime = 3 * time.Second
	// ackTime is how long a broker may take to store a message.
	ackTime = 5 * time.Second
	// ackWait is after how long a message that a member did not acknowledge comes to it again.
	ackWait = 30 * time.Second
	// idleTime is after how long the broker forgets a member that asks for nothing.
	idleTime = 10 * time.Minute
	// noLimit is an async publisher's limit of messages: ours counts bytes.
	noLimit = 1 << 30
)

// Config is what acquire's end of the carrier needs.
type Config struct {
	// Connect makes the connection that pixels go out on, at first need. It is not the link's: heartbeats must not wait
	// behind pixels.
	Connect func(ctx context.Context) (*nats.Conn, error)
	// Base is the camera's subject, "sluice.cam0".
	Base string
	// Dir is the memory file system that slabs lie in.
	Dir string
	// Storage, Replicas and MaxBytes are the stream's. MaxBytes is the budget of all frames on their way to lossless
	// members and in their hands.
	Storage  jetstream.StorageType
	Replicas int
	MaxBytes int64
	Logger   *slog.Logger
}

// Feeder is what the routes to all members of a camera have in common: a connection, a stream and its budget.
type Feeder struct {
	cfg    Config
	names  names
	budget *backpressure.Budget

	opening sync.Mutex // held while the connection or the stream is being made
	mu      sync.Mutex // guards what follows
	nc      *nats.Conn
	js      jetstream.JetStream
	fresh   bool      // the stream has nothing of an earlier acquire
	created time.Time // when the stream was, that is there now: another one has nothing of what this one had
	routes  map[*route]bool
	often   rate.Sometimes
}

// NewFeeder returns a Feeder that has no connection yet. Close it.
func NewFeeder(cfg Config) (*Feeder, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Feeder{cfg: cfg, names: names{cfg.Base}, routes: map[*route]bool{}, often: rate.Sometimes{Interval: time.Second}}
	var err error
	f.budget, err = backpressure.NewBudget(backpressure.Config{Limit: cfg.MaxBytes, OnChange: f.transition})
	if err != nil {
		return nil, fmt.Errorf("the stream's budget: %w", err)
	}
	return f, nil
}

// transition tells of the stream's budget. The run's own follows it: what has no room here stays in the slab.
func (f *Feeder) transition(t backpressure.Transition) {
	f.cfg.Logger.Info("the stream's budget", "from", t.From.String(), "to", t.To.String(), "bytes", t.Used, "limit", t.Limit)
}

// complain logs that the stream takes no frames, now and then.
func (f *Feeder) complain(member string, err error) {
	f.often.Do(func() { f.cfg.Logger.Warn("pixels can't be stored, trying again", "member", member, "error", err) })
}

// open returns a connection to a broker that has the stream, made as it is configured. It may be called again at any time.
func (f *Feeder) open(ctx context.Context) (jetstream.JetStream, *nats.Conn, error) {
	f.opening.Lock()
	defer f.opening.Unlock()
	if f.nc == nil {
		nc, err := f.cfg.Connect(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(noLimit), jetstream.WithPublishAsyncTimeout(ackTime), jetstream.WithDefaultTimeout(askTime))
		if err != nil {
			nc.Close()
			return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		f.mu.Lock()
		f.nc, f.js = nc, js
		f.mu.Unlock()
	}
	if !f.fresh { // what an earlier acquire left, perhaps as another kind of stream: its frames come again
		if err := f.js.DeleteStream(ctx, f.names.stream()); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, nil, fmt.Errorf("%w: remove the stream %s of an earlier acquire: %w", ErrUnavailable, f.names.stream(), err)
		}
	}
	stream, err := f.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: f.names.stream(), Description: "Pixels of frames on their way to members on other hosts", Subjects: []string{f.names.all()},
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxBytes: f.cfg.MaxBytes, MaxMsgs: -1, MaxConsumers: -1,
		Storage: f.cfg.Storage, Replicas: f.cfg.Replicas, Duplicates: time.Second,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: make the stream %s: %w", ErrUnavailable, f.names.stream(), err)
	}
	f.fresh = true
	f.mu.Lock()
	f.created = stream.CachedInfo().Created
	f.mu.Unlock()
	return f.js, f.nc, nil
}

// stream says which stream there is, by when it was created.
func (f *Feeder) stream() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.created
}

// serve makes the consumer by which a member gets its pixels, if it is not there. It returns how many messages the stream
// has for it.
func (f *Feeder) serve(ctx context.Context, member string) (pending uint64, err error) {
	js, _, err := f.open(ctx)
	if err != nil {
		return 0, err
	}
	c, err := js.CreateOrUpdateConsumer(ctx, f.names.stream(), jetstream.ConsumerConfig{
		Durable: member, FilterSubject: f.names.stored(member), AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxDeliver: -1, MaxAckPending: -1, InactiveThreshold: idleTime, MemoryStorage: true,
	})
	if err != nil {
		return 0, fmt.Errorf("%w: make the consumer %s: %w", ErrUnavailable, member, err)
	}
	return c.CachedInfo().NumPending, nil
}

// renew makes a member's consumer anew: what the member has not acknowledged is delivered once more. It returns how many
// messages that are.
func (f *Feeder) renew(ctx context.Context, member string) (pending uint64, err error) {
	if err := f.js.DeleteConsumer(ctx, f.names.stream(), member); err != nil &&
		!errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("%w: remove the consumer %s: %w", ErrUnavailable, member, err)
	}
	return f.serve(ctx, member)
}

// empty takes what was not fetched of a member's pixels out of the stream. An error leaves it to the next acquire, or to
// the member when it comes back.
func (f *Feeder) empty(member string) error {
	f.mu.Lock()
	js, nc := f.js, f.nc
	f.mu.Unlock()
	if !nc.IsConnected() {
		return fmt.Errorf("empty the stream of pixels for %s: %w", member, nats.ErrDisconnected)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	stream, err := js.Stream(ctx, f.names.stream())
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(f.names.stored(member)))
	}
	if err != nil {
		return fmt.Errorf("empty the stream of pixels for %s: %w", member, err)
	}
	return nil
}

// enlist has a route told when there may be room again, until dismiss.
func (f *Feeder) enlist(r *route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[r] = true
}

func (f *Feeder) dismiss(r *route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.routes, r)
}

// give gives bytes back to the stream's budget.
func (f *Feeder) give(n int64) {
	if n == 0 {
		return
	}
	if err := f.budget.Release(n); err != nil {
		f.cfg.Logger.Error("account of the stream is wrong", "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.routes {
		r.poke()
	}
}

// Close removes the stream and closes the connection. No route may be in use.
func (f *Feeder) Close() error {
	f.opening.Lock()
	defer f.opening.Unlock()
	f.budget.Close()
	if f.nc == nil {
		return nil
	}
	defer f.nc.Close()
	if !f.fresh || !f.nc.IsConnected() {
		return nil // there is none, or the next acquire empties it
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if err := f.js.DeleteStream(ctx, f.names.stream()); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("remove the stream %s: %w", f.names.stream(), err)
	}
	return nil
}
