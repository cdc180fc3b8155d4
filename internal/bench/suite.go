package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/fft"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Options say how much is measured, and where.
type Options struct {
	Sluice string // the program, with acquire, writer and analyze beside it
	Dir    string // on the disk to be measured
	Shm    string // the memory file system of slabs
	Budget int64  // bytes of the slab
	Bytes  int64  // of pixels that each side of a pair writes
	Pairs  int
	// Told is called before each measurement.
	Told func(string)
}

// scene is a camera's frames as a benchmark has them.
type scene struct {
	name          string
	width, height int
	dtype         frames.Dtype
}

func (s scene) geometry() frames.Geometry {
	return frames.Geometry{Height: s.height, Width: s.width, Channels: 1, Dtype: s.dtype}
}

func (s scene) source(pattern string) string {
	return fmt.Sprintf("sim:?width=%d&height=%d&dtype=%s&fps=0&pattern=%s", s.width, s.height, s.dtype, pattern)
}

var (
	large = scene{"8 MiB", 2048, 2048, frames.Uint16}
	small = scene{"256 KiB", 512, 256, frames.Uint16}
)

// Transport measures frames through the slab to a consumer that reads every cache line, against memcpy over a working
// set as large as the slab.
func Transport(ctx context.Context, o Options) (list []Measure, err error) {
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
		o.Told(transportName(size.name))
		m, err := o.transport(ctx, srv.ClientURL(), size.name, size.frame, int(min(size.bytes, o.Bytes)/int64(size.frame)))
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func (o Options) transport(ctx context.Context, url, name string, frame, n int) (m Measure, err error) {
	var conns []*nats.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	slots := min(int(o.Budget)/frame, 16384)
	t, err := newTransport(ctx, o.Shm, "bench-"+strings.ToLower(rand.Text()[:8]), frame, slots, func() (*nats.Conn, error) {
		c, err := nats.Connect(url)
		if err == nil {
			conns = append(conns, c)
		}
		return c, err
	})
	if err != nil {
		return m, fmt.Errorf("measuring the transport: %w", err)
	}
	defer func() { err = errors.Join(err, t.close()) }()
	limit := newCopier(frame, slots*frame)
	if _, err := t.run(ctx, n/4, 0); err != nil { // every page is touched, every path warm
		return m, err
	}
	limit.run(n / 4)
	m = Measure{Name: transportName(name), Unit: "GB/s", LimitIs: "memcpy over a working set as large as the slab"}
	if err := m.interleave(ctx, o.Pairs,
		func(ctx context.Context) (float64, error) { return t.run(ctx, n, 0) },
		func(context.Context) (float64, error) { return limit.run(n), nil },
	); err != nil {
		return m, err
	}
	m.Frames = m.Achieved
	m.Achieved, m.Limit = m.Achieved*float64(frame)/1e9, m.Limit*float64(frame)/1e9
	m.Latency, err = t.latencyAt(ctx, m.Frames/2)
	return m, err
}

// Disk measures runs of the real programs without compression, against writing the same bytes with nothing else to do.
func Disk(ctx context.Context, o Options) ([]Measure, error) {
	var list []Measure
	for _, c := range []struct {
		scene
		analyzers int
	}{{large, 0}, {small, 0}, {large, 1}} {
		name := diskName(c.scene, c.analyzers > 0)
		o.Told(name)
		size := c.geometry().FrameBytes()
		k := int(store.DefaultShardFrames(size, o.Budget, 1))
		raw := newRawDisk(o.Dir, size, 4<<20, k, o.Budget, 8)
		p := pipeline{o.Sluice, o.Dir, []string{"--source", c.source("counter"), "--budget", config.ByteSize(o.Budget).String(), "--analyzers", strconv.Itoa(c.analyzers)}}
		var cpu []float64
		m := Measure{Name: name, Unit: "GB/s", LimitIs: "O_DIRECT writes of the same size, depth, preallocation and files"}
		if err := m.interleave(ctx, o.Pairs,
			func(ctx context.Context) (float64, error) {
				a, err := p.run(ctx, int(o.Bytes/int64(size)))
				cpu = append(cpu, a.cpuPerGB())
				return a.perSec() / 1e9, err
			},
			func(ctx context.Context) (float64, error) {
				perSec, err := raw.run(ctx, o.Bytes)
				return perSec / 1e9, err
			},
		); err != nil {
			return nil, err
		}
		m.Frames, m.CPU = m.Achieved*1e9/float64(size), median(cpu)
		list = append(list, m)
	}
	return list, nil
}

// Compress measures runs of the real programs with each codec on a sensor's noise, against the encoder alone on all
// cores.
func Compress(ctx context.Context, o Options) ([]Measure, error) {
	var list []Measure
	for _, codec := range []config.Compress{{Codec: "zstd", Level: 1}, {Codec: "blosc-zstd", Level: 1}} {
		name := fmt.Sprintf("camera to disk, frames of %s, %s", large.name, codec)
		o.Told(name)
		size := large.geometry().FrameBytes()
		p := pipeline{o.Sluice, o.Dir, []string{
			"--source", large.source("noise"), "--budget", config.ByteSize(o.Budget).String(), "--analyzers", "0", "--compress", codec.String(),
		}}
		n := int(max(1, o.Bytes/4/int64(size)))
		var cpu, stored []float64
		m := Measure{Name: name, Unit: "GB/s", LimitIs: fmt.Sprintf("the encoder alone on %d cores", runtime.GOMAXPROCS(0))}
		if err := m.interleave(ctx, o.Pairs,
			func(ctx context.Context) (float64, error) {
				a, err := p.run(ctx, n)
				cpu, stored = append(cpu, a.cpuPerGB()), append(stored, float64(a.StoredBytes)/float64(max(a.Bytes, 1)))
				return a.perSec() / 1e9, err
			},
			func(ctx context.Context) (float64, error) { return encode(ctx, codec, n) },
		); err != nil {
			return nil, err
		}
		m.Frames, m.CPU, m.Stored = m.Achieved*1e9/float64(size), median(cpu), median(stored)
		list = append(list, m)
	}
	return list, nil
}

// encode compresses n frames of noise on all cores, and returns GB a second.
func encode(ctx context.Context, codec config.Compress, n int) (float64, error) {
	cores := runtime.GOMAXPROCS(0)
	c := sim.Default()
	c.Width, c.Height, c.Dtype = large.width, large.height, large.dtype
	pattern, err := sim.NewPattern(c)
	if err != nil {
		return 0, err
	}
	enc, err := store.NewEncoder(run.Spec{Codec: codec.Codec, Level: codec.Level, Geometry: c.Geometry()}, cores)
	if err != nil {
		return 0, err
	}
	defer enc.Close()
	size := c.Geometry().FrameBytes()
	set := make([][]byte, 8)
	for i := range set {
		set[i] = make([]byte, size)
		pattern.Fill(set[i], uint64(i))
	}
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for core := range cores {
		g.Go(func() error {
			dst := make([]byte, 0, enc.MaxEncodedSize(size))
			for i := core; i < n && ctx.Err() == nil; i += cores {
				enc.EncodeAll(set[i%len(set)], dst)
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return perSecond(float64(n)*float64(size)/1e9, start), nil
}

// FFT measures a frame's way to its spatial spectrum, against its transform alone, on one core.
func FFT(ctx context.Context, o Options) ([]Measure, error) {
	var list []Measure
	for _, s := range []scene{
		{"512×512", 512, 512, frames.Uint16}, {"1024×1024", 1024, 1024, frames.Uint16}, {"2048×2048", 2048, 2048, frames.Uint16},
		{"1200×1920", 1920, 1200, frames.Uint16}, {"2304×4096", 4096, 2304, frames.Uint16},
	} {
		name := "spatial spectrum, " + s.name
		o.Told(name)
		spatial, err := spectrum.NewSpatial(spectrum.SpatialConfig{
			Geometry: s.geometry(), Window: spectrum.WindowHann, Peaks: spectrum.DefaultPeaks, MaxBytes: spectrum.DefaultPlaneBytes,
		})
		if err != nil {
			return nil, err
		}
		plan, err := fft.New(fft.Config{Rows: s.height, Cols: s.width})
		if err != nil {
			return nil, err
		}
		space := plan.NewWorkspace()
		pixels := make([]byte, s.geometry().FrameBytes())
		for i := range pixels {
			pixels[i] = byte(i * i >> 4)
		}
		m := Measure{Name: name, Unit: "frames/s", LimitIs: "the transform alone"}
		if err := m.interleave(ctx, max(3, o.Pairs),
			func(context.Context) (float64, error) {
				start := time.Now()
				if err := spatial.Load(pixels); err != nil {
					return 0, err
				}
				spatial.Compute()
				return perSecond(1, start), nil
			},
			func(context.Context) (float64, error) {
				start := time.Now()
				if _, err := space.LoadUint16(pixels, 2*s.width, 0); err != nil {
					return 0, err
				}
				space.Power(func(int, []float32) {})
				return perSecond(1, start), nil
			},
		); err != nil {
			return nil, err
		}
		m.Frames = m.Achieved
		list = append(list, m)
	}
	return list, nil
}
