package bench

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/usage"
)

// codecs are those that Compress measures.
func codecs() []config.Compress {
	return []config.Compress{{Codec: "zstd", Level: 1}, {Codec: "blosc-zstd", Level: 1}}
}

// Compress measures runs of the real programs with each codec on a sensor's noise, against the encoder alone on all
// cores, and on what a run without compression leaves of them.
func Compress(ctx context.Context, o Options) ([]Measure, error) {
	var list []Measure
	for _, codec := range codecs() {
		if !o.wants(compressName(large, codec)) {
			continue
		}
		m, err := o.compress(ctx, large, codec)
		if err != nil {
			return nil, err
		}
		list = o.add(list, m)
	}
	return list, nil
}

func compressName(s scene, codec config.Compress) string {
	return fmt.Sprintf("camera to disk, frames of %s, %s", s.name, codec)
}

func (o Options) compress(ctx context.Context, s scene, codec config.Compress) (Measure, error) {
	size, cores := s.geometry().FrameBytes(), runtime.GOMAXPROCS(0)
	m := Measure{
		Name: compressName(s, codec), Unit: unitGB, FrameBytes: size, Codec: codec.String(),
		LimitIs: fmt.Sprintf("the encoder alone on %d cores", cores),
	}
	o.tell(Progress{Measure: m.Name, What: "frames of noise are made"})
	enc, err := newEncoding(s, codec, cores)
	if err != nil {
		return m, fmt.Errorf("measuring %s: %w", m.Name, err)
	}
	defer enc.close()
	p, plain := o.pipeline(s, "noise", "--analyzers", "0", "--compress", codec.String()), o.pipeline(s, "noise", "--analyzers", "0")
	n := int(max(1, o.Bytes/4/int64(size)))
	var runs []account
	var stored []float64
	var left otherLimit
	if err := o.round(ctx, &m, o.Pairs,
		func(ctx context.Context) (float64, error) {
			a, err := p.run(ctx, n, 0)
			runs = append(runs, a)
			return a.perSec() / gb, err
		},
		func(ctx context.Context) (float64, error) {
			perSec, err := enc.run(ctx, n)
			return perSec / gb, err
		},
		func(ctx context.Context) error {
			o.tell(Progress{Measure: m.Name, Pair: len(runs), Pairs: o.Pairs, What: "a run without compression"})
			without, err := plain.run(ctx, n, 0)
			if err != nil {
				return err
			}
			a := runs[len(runs)-1]
			left.add(a.perSec()/gb, float64(cores)/(without.cpuPerGB()+enc.cpuPerGB))
			stored = append(stored, float64(a.StoredBytes)/float64(a.Bytes))
			return nil
		},
	); err != nil {
		return m, err
	}
	m.Other, m.Stored = left.result("the encoder on the processor time that a run without compression leaves"), pairs.Median(stored)
	m.used(runs)
	return m, o.half(ctx, &m, p, n)
}

// encodeTime is what a run of an encoder takes at least: one that is over in a moment says little.
const encodeTime = 2 * time.Second

// encoding is a codec's limit: frames of noise compressed with nothing else to do.
type encoding struct {
	enc      store.Encoder
	set      [][]byte
	size     int
	cores    int
	least    time.Duration // that a run takes
	cpuPerGB float64       // of the last run
}

func newEncoding(s scene, codec config.Compress, cores int) (*encoding, error) {
	c := sim.Default()
	c.Width, c.Height, c.Dtype, c.Pattern = s.width, s.height, s.dtype, "noise"
	pattern, err := sim.NewPattern(c)
	if err != nil {
		return nil, err
	}
	e := &encoding{size: c.Geometry().FrameBytes(), cores: cores, least: encodeTime, set: make([][]byte, 8)}
	for i := range e.set {
		e.set[i] = make([]byte, e.size)
		pattern.Fill(e.set[i], uint64(i))
	}
	e.enc, err = store.NewEncoder(run.Spec{Codec: codec.Codec, Level: codec.Level, Geometry: c.Geometry()}, cores)
	return e, err
}

func (e *encoding) close() { _ = e.enc.Close() } // it has nothing to flush

// run compresses n frames at least, for encodeTime at least, on all cores, and returns bytes of pixels a second.
func (e *encoding) run(ctx context.Context, n int) (perSec float64, err error) {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	start, before := time.Now(), usage.Own()
	for range e.cores {
		g.Go(func() error {
			dst := make([]byte, 0, e.enc.MaxEncodedSize(e.size))
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n && time.Since(start) >= e.least {
					next.Add(-1)
					return nil
				}
				e.enc.EncodeAll(e.set[i%len(e.set)], dst)
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	bytes := float64(next.Load()) * float64(e.size)
	e.cpuPerGB = usage.Own().Sub(before).Seconds() / (bytes / gb)
	return bytes / time.Since(start).Seconds(), nil
}
