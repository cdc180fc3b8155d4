package bench

import (
	"fmt"
	"strings"

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
	Only   string // what a measure's name must contain
	// Told is called before each step, Done with each result. They may be nil.
	Told func(Progress)
	Done func(Measure)
}

// Progress is what is being measured.
type Progress struct {
	Measure     string
	Pair, Pairs int    // 0 where it is none of them
	What        string // which side of the pair, or what else
}

func (o Options) tell(p Progress) {
	if o.Told != nil {
		o.Told(p)
	}
}

// wants reports whether a measure is to be taken.
func (o Options) wants(name string) bool { return strings.Contains(name, o.Only) }

// add adds a result.
func (o Options) add(list []Measure, m Measure) []Measure {
	if o.Done != nil {
		o.Done(m)
	}
	return append(list, m)
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

// source is a simulated camera at so many frames a second, 0 for as many as it can.
func (s scene) source(pattern string, fps float64) string {
	return fmt.Sprintf("sim:?width=%d&height=%d&dtype=%s&fps=%.6g&pattern=%s", s.width, s.height, s.dtype, fps, pattern)
}

var (
	large = scene{"8 MiB", 2048, 2048, frames.Uint16}
	small = scene{"256 KiB", 512, 256, frames.Uint16}
)

func transportName(frames string) string { return "transport, frames of " + frames }

func diskName(s scene, analysed bool) string {
	if analysed {
		return "camera to disk, frames of " + s.name + ", with an analyser"
	}
	return "camera to disk, frames of " + s.name
}
