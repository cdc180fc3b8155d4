package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/store"
)

// halfTime is about how long the run at half load takes.
const halfTime = 4 * time.Second

// Disk measures runs of the real programs without compression, against writing the same bytes with nothing else to do.
func Disk(ctx context.Context, o Options) ([]Measure, error) {
	var list []Measure
	for _, c := range []struct {
		scene
		analyzers int
	}{{large, 0}, {small, 0}, {large, 1}} {
		if !o.wants(diskName(c.scene, c.analyzers > 0)) {
			continue
		}
		m, err := o.disk(ctx, c.scene, c.analyzers)
		if err != nil {
			return nil, err
		}
		list = o.add(list, m)
	}
	return list, nil
}

func (o Options) disk(ctx context.Context, s scene, analyzers int) (Measure, error) {
	size := s.geometry().FrameBytes()
	p := o.pipeline(s, "counter", "--analyzers", strconv.Itoa(analyzers))
	raw, err := newRawDisk(o.Dir, s, int(store.DefaultShardFrames(size, o.Budget, 1)), o.Budget)
	if err != nil {
		return Measure{}, err
	}
	defer raw.close()
	n := int(max(1, o.Bytes/int64(size)))
	m := Measure{
		Name: diskName(s, analyzers > 0), Unit: unitGB, FrameBytes: size, Codec: "none",
		LimitIs: "O_DIRECT writes of the same bytes, size, depth, preallocation and files",
	}
	var runs []account
	var durable otherLimit
	if err := o.round(ctx, &m, o.Pairs,
		func(ctx context.Context) (float64, error) {
			a, err := p.run(ctx, n, 0)
			runs = append(runs, a)
			return a.perSec() / gb, err
		},
		func(ctx context.Context) (float64, error) {
			perSec, err := raw.run(ctx, int64(n)*int64(size))
			return perSec / gb, err
		},
		func(ctx context.Context) error {
			o.tell(Progress{Measure: m.Name, Pair: len(runs), Pairs: o.Pairs, What: "the limit, synced as it goes"})
			perSec, err := raw.durable(ctx, int64(n)*int64(size))
			if err == nil {
				durable.add(runs[len(runs)-1].perSec()/gb, perSec/gb)
			}
			return err
		},
	); err != nil {
		return m, err
	}
	m.used(runs)
	m.Other = durable.result(fmt.Sprintf("the same writes, of which no more than %s is not durable at any time", config.ByteSize(o.Budget)))
	var perGB []float64
	for _, a := range runs {
		perGB = append(perGB, a.flushesPerGB())
	}
	if n := pairs.Median(perGB); n > 0 {
		m.Note = fmt.Sprintf("the disk flushes its cache %.0f times a GB; %.0f times at the limit", n, pairs.Median(raw.flushes))
	}
	if raw.refused != nil {
		m.LimitIs = "writes of the same bytes, size, depth, preallocation and files"
		m.Note = fmt.Sprintf("neither side writes past the page cache: %v", raw.refused)
	}
	return m, o.half(ctx, &m, p, n)
}

// half adds the latency of a run at half the rate that m has achieved, with at most n frames.
func (o Options) half(ctx context.Context, m *Measure, p *pipeline, n int) error {
	fps := m.Frames / 2
	o.tell(Progress{Measure: m.Name, What: "latency at half load"})
	a, err := p.run(ctx, max(1, min(n, int(fps*halfTime.Seconds()))), fps)
	if err != nil {
		return fmt.Errorf("measuring %s at half load: %w", m.Name, err)
	}
	if a.Latency != nil {
		m.Latency = append(m.Latency, Latency{LoadHalf, *a.Latency})
	}
	return nil
}
