//go:build cblosc

// Command codecs prints what each codec that readers of Zarr v3 know makes of camera frames, and how fast: c-blosc, zstd and
// gzip from the system's libraries (Debian: libblosc-dev, libzstd-dev, zlib1g-dev) and Sluice's own. Its arguments are the scenes,
// all where there are none.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/frames"
)

const (
	edge  = 2048                   // pixels
	count = 4                      // frames of a scene
	long  = 250 * time.Millisecond // that each figure is measured for, and one frame at least
)

// encode compresses src into dst and returns how many bytes that are, 0 where it fails.
type encode func(dst, src []byte) int

// codec is one line of the table. start makes an encoder for one core.
type codec struct {
	name  string
	start func() encode
}

type scene struct {
	name  string
	dtype frames.Dtype
	fill  func(frame []byte, seq uint64)
}

func main() {
	if err := table(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func table(w io.Writer, only []string) error {
	fmt.Fprintf(w, "%-18s %-38s %7s %10s %10s\n", "scene", "codec", "ratio", "1 core", "2 cores")
	for _, s := range []scene{{"noise-uint16", frames.Uint16, nil}, {"noise-uint8", frames.Uint8, nil}, {"photons-12bit", frames.Uint16, photons}} {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		set, err := s.frames()
		if err != nil {
			return err
		}
		for _, c := range codecs(s.dtype) {
			ratio, one := measure(c, set, 1)
			_, two := measure(c, set, 2)
			fmt.Fprintf(w, "%-18s %-38s %7.4f %5.2f GB/s %5.2f GB/s\n", s.name, c.name, ratio, one, two)
		}
	}
	return nil
}

// photons is a wave of 100 to 3300 electrons with their shot noise, one count each, clipped to 12 bits.
func photons(frame []byte, seq uint64) {
	r := rand.New(rand.NewPCG(7, seq))
	for i := range len(frame) / 2 {
		x, y := float64(i%edge)/edge, float64(i/edge)/edge
		mean := 1700 + 1600*math.Sin(2*math.Pi*(5*x+3*y))
		v := min(max(math.Round(mean+math.Sqrt(mean)*r.NormFloat64()), 0), 4095)
		binary.LittleEndian.PutUint16(frame[2*i:], uint16(v))
	}
}

func (s scene) geometry() frames.Geometry {
	return frames.Geometry{Height: edge, Width: edge, Channels: 1, Dtype: s.dtype}
}

// frames are what the camera makes; sim's pattern noise, where the scene has none of its own.
func (s scene) frames() ([][]byte, error) {
	fill := s.fill
	if fill == nil {
		c := sim.Default()
		c.Width, c.Height, c.Dtype = edge, edge, s.dtype
		p, err := sim.NewPattern(c)
		if err != nil {
			return nil, err
		}
		fill = p.Fill
	}
	set := make([][]byte, count)
	for i := range set {
		set[i] = make([]byte, s.geometry().FrameBytes())
		fill(set[i], uint64(i))
	}
	return set, nil
}

func codecs(dtype frames.Dtype) []codec {
	var list []codec
	for _, level := range []int{1, 3, 5} {
		list = append(list, ours("zstd", level, dtype), ours("blosc-zstd", level, dtype), cZstd(level), cGzip(level))
	}
	for _, name := range []string{"lz4", "lz4hc", "zstd", "zlib"} {
		for shuffle := range 3 {
			for _, level := range []int{1, 3, 5} {
				list = append(list, cBlosc(name, shuffle, level, dtype.Size()))
			}
		}
	}
	return list
}

func ours(name string, level int, dtype frames.Dtype) codec {
	return codec{fmt.Sprintf("sluice %s:%d", name, level), func() encode {
		spec := run.Spec{Codec: name, Level: level, Geometry: scene{dtype: dtype}.geometry()}
		e, err := store.NewEncoder(spec, 1)
		if err != nil {
			return func([]byte, []byte) int { return 0 }
		}
		return func(dst, src []byte) int { return len(e.EncodeAll(src, dst[:0])) }
	}}
}

// measure returns the part of the size that is left, and 10⁹ bytes a second on so many cores.
func measure(c codec, set [][]byte, cores int) (ratio, speed float64) {
	size := len(set[0])
	var done, left atomic.Int64
	var work sync.WaitGroup
	ready, begin := make(chan struct{}), make(chan struct{})
	for core := range cores {
		work.Go(func() {
			enc, dst := c.start(), make([]byte, 2*size)
			enc(dst, set[0]) // every page is there
			ready <- struct{}{}
			<-begin
			for i, start := core, time.Now(); i == core || time.Since(start) < long; i++ {
				left.Add(int64(enc(dst, set[i%len(set)])))
				done.Add(1)
			}
		})
	}
	for range cores {
		<-ready
	}
	start := time.Now()
	close(begin)
	work.Wait()
	n := float64(done.Load())
	return float64(left.Load()) / (n * float64(size)), n * float64(size) / 1e9 / time.Since(start).Seconds()
}
