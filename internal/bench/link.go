package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/usage"
)

// maxSlots bounds the slots of a transport's slab: of small frames the budget holds more than can be under way.
const maxSlots = 16384

// Transport measures frames through the slab to a consumer that reads every cache line, against memcpy over a working
// set as large as the slab, and against the same without a link. The three processes of a run are one here, with as many threads as
// they would have.
func Transport(ctx context.Context, o Options) (list []Measure, err error) {
	// With one thread for each processor who computes keeps others waiting for ten milliseconds, which the kernel would not.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3 * runtime.NumCPU()))
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, fmt.Errorf("making a broker: %w", err)
	}
	srv.Start()
	defer func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	if !srv.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the broker does not start")
	}
	for _, size := range []struct {
		name  string
		frame int
		bytes int64 // that each side of a pair moves
	}{{"8 MiB", 8 << 20, 4 << 30}, {"256 KiB", 256 << 10, 2 << 30}, {"4 KiB", 4 << 10, 512 << 20}} {
		if !o.wants(transportName(size.name)) {
			continue
		}
		m, err := o.transport(ctx, srv.ClientURL(), size.name, size.frame, int(min(size.bytes, o.Bytes)/int64(size.frame)))
		if err != nil {
			return nil, err
		}
		list = o.add(list, m)
	}
	return list, nil
}

func (o Options) transport(ctx context.Context, url, name string, frame, n int) (m Measure, err error) {
	m = Measure{Name: transportName(name), Unit: unitGB, FrameBytes: frame, LimitIs: "memcpy over a working set as large as the slab"}
	var conns []*nats.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	slots := min(int(o.Budget)/frame, maxSlots)
	limit, err := newCopier(frame, slots*frame)
	if err != nil {
		return m, err
	}
	defer limit.close()
	t, err := newTransport(ctx, o.Shm, "bench-"+strings.ToLower(rand.Text()[:8]), limit.frame, slots, crowd{groups: 1, members: 1}, func() (*nats.Conn, error) {
		c, err := nats.Connect(url)
		if err == nil {
			conns = append(conns, c)
		}
		return c, err
	})
	if err != nil {
		return m, fmt.Errorf("measuring %s: %w", m.Name, err)
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if _, err := t.run(ctx, max(slots, n/4), 0); err != nil { // every page is touched, every path warm
		return m, err
	}
	limit.memcpy(max(slots, n/4))
	runtime.GC() // what other measures have left is not this one's memory

	t.dispatch.ForgetLatency()
	var peak usage.Peak
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { peak.Watch(watch, os.Getpid()) })
	defer watching.Wait()
	defer stop()
	var cpu usage.CPU
	var last float64 // achieved
	var bare otherLimit
	perSec := float64(frame) / gb
	if err := o.round(ctx, &m, o.Pairs,
		func(ctx context.Context) (float64, error) {
			before := usage.Own()
			frames, err := t.run(ctx, n, 0)
			cpu = cpu.Add(usage.Own().Sub(before))
			last = frames * perSec
			return last, err
		},
		func(context.Context) (float64, error) { return limit.memcpy(n) * perSec, nil },
		func(context.Context) error { bare.add(last, limit.hand(n)*perSec); return nil },
	); err != nil {
		return m, err
	}
	m.Other = bare.result("a copy of a frame into the slab while another core reads every cache line, with two counters between")
	t.latency(&m, LoadFull)
	done := float64(o.Pairs) * float64(n)
	m.CPU = &CPU{Rest: cpu.Seconds() / (done * float64(frame) / gb)}
	m.Memory = []Memory{{Process: "all in one process", PeakAnonBytes: max(0, peak.Bytes()-int64(len(limit.bytes())))}}
	m.Note = fmt.Sprintf("%.1f µs of processor time a frame, on %d processors", cpu.Seconds()/done*1e6, runtime.NumCPU())
	return m, t.halfLoad(ctx, o, &m)
}

// halfLoad adds the latency at half the rate that m has achieved, measured for about a second as often as there are pairs:
// one in which the machine did something else is one of several.
func (t *transport) halfLoad(ctx context.Context, o Options, m *Measure) error {
	perSec := m.Frames / 2
	var list []run.Latency
	for i := range o.Pairs {
		o.tell(Progress{Measure: m.Name, Pair: i + 1, Pairs: o.Pairs, What: "latency at half load"})
		t.dispatch.ForgetLatency()
		if _, err := t.run(ctx, int(max(50, min(perSec, 50000))), time.Duration(float64(time.Second)/perSec)); err != nil {
			return fmt.Errorf("measuring %s at half load: %w", m.Name, err)
		}
		if l := t.dispatch.Latency(); l != nil {
			list = append(list, *l)
		}
	}
	if len(list) > 0 {
		m.Latency = append(m.Latency, Latency{LoadHalf, together(list)})
	}
	return nil
}

// latency adds what the dispatcher has counted under a load.
func (t *transport) latency(m *Measure, load string) {
	if l := t.dispatch.Latency(); l != nil {
		m.Latency = append(m.Latency, Latency{load, *l})
	}
}
