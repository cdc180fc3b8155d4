package sim

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The names of the patterns.
const (
	Counter = "counter"
	Hash    = "hash"
	Wave    = "wave"
	Noise   = "noise"
)

// Config says what to simulate. Package camera documents the keys of the same names.
type Config struct {
	Width, Height int
	Dtype         frames.Dtype
	FPS           float64 // 0: as fast as frames are taken
	Pattern       string
	Free          bool
	Ring          int

	Seed            uint64
	Mean            float64 // counts
	At, Hz          float64 // relative to Mean, hertz
	As, KX, KY      float64 // relative to Mean, periods per frame
	IDBits          int
	SkipZero        bool
	MissEvery       uint64 // 0: never, as in the following
	IncompleteEvery uint64
	StallAt         uint64
	FailAt          uint64
}

// Default is the camera that "sim:" names.
func Default() Config {
	return Config{
		Width: 2048, Height: 2048, Dtype: frames.Uint16, FPS: 30, Pattern: Noise, Ring: 16,
		Mean: 16384, At: 0.2, Hz: 1, As: 0.2, KX: 4, KY: 2, IDBits: 64,
	}
}

const (
	minFPS = 1e-3
	maxFPS = 1e6
)

// Parse reads the keys of a sim: source. The error wraps [camera.ErrSource].
func Parse(s camera.Source) (Config, error) {
	c := Default()
	k := s.Keys("width", "height", "dtype", "fps", "pattern", "free", "ring", "seed", "mean", "at", "hz", "as", "kx",
		"ky", "idbits", "skipzero", "missevery", "incompleteevery", "stallat", "failat")
	c.Width = k.Int("width", c.Width, 1, frames.MaxFrameBytes)
	c.Height = k.Int("height", c.Height, 1, frames.MaxFrameBytes)
	if k.Word("dtype", c.Dtype.String(), frames.Uint8.String(), frames.Uint16.String()) == frames.Uint8.String() {
		c.Dtype = frames.Uint8
		c.Mean = 64
	}
	c.FPS = k.Float("fps", c.FPS, 0, maxFPS, "frames per second")
	k.Check(c.FPS == 0 || c.FPS >= minFPS, "fps", "0 (as fast as it can) or at least 0.001 frames per second")
	c.Pattern = k.Word("pattern", c.Pattern, Counter, Hash, Wave, Noise)
	k.Check(c.FPS > 0 || c.Pattern != Wave, "fps", "more than 0 with pattern=wave, whose formula divides by it")
	c.Free = k.Bool("free", c.Free)
	k.Check(c.FPS > 0 || !c.Free, "fps", "more than 0 with free=true: a free-running camera has a rate")
	c.Ring = k.Int("ring", c.Ring, 1, 1<<20)
	k.Check(c.Free || !k.Has("ring"), "ring", "free=true with it: only a free-running camera keeps frames")

	c.Seed = k.Uint("seed", c.Seed, 0, math.MaxUint64)
	c.Mean = k.Float("mean", c.Mean, 0, maxValue(c.Dtype), "counts")
	c.At = k.Float("at", c.At, -100, 100, "relative to mean")
	c.Hz = k.Float("hz", c.Hz, 0, maxFPS, "hertz")
	c.As = k.Float("as", c.As, -100, 100, "relative to mean")
	c.KX = k.Float("kx", c.KX, -1e6, 1e6, "periods across the width")
	c.KY = k.Float("ky", c.KY, -1e6, 1e6, "periods across the height")

	c.IDBits, _ = strconv.Atoi(k.Word("idbits", strconv.Itoa(c.IDBits), "16", "32", "64"))
	c.SkipZero = k.Bool("skipzero", c.SkipZero)
	c.MissEvery = k.Uint("missevery", 0, 0, math.MaxUint64)
	k.Check(c.MissEvery != 1, "missevery", "0 or at least 2: with 1 no frame is left")
	c.IncompleteEvery = k.Uint("incompleteevery", 0, 0, math.MaxUint64)
	c.StallAt = k.Uint("stallat", 0, 0, math.MaxUint64)
	c.FailAt = k.Uint("failat", 0, 0, math.MaxUint64)
	if err := k.Err(); err != nil {
		return Config{}, err
	}
	if err := c.Geometry().Validate(); err != nil {
		return Config{}, fmt.Errorf("%w sim: %w", camera.ErrSource, err)
	}
	return c, nil
}

// Geometry is the shape of every frame.
func (c Config) Geometry() frames.Geometry {
	return frames.Geometry{Height: c.Height, Width: c.Width, Channels: 1, Dtype: c.Dtype}
}

func maxValue(d frames.Dtype) float64 { return float64(uint64(1)<<(8*d.Size()) - 1) }
