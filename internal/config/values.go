package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Count is a number of things, at least one where it was given.
type Count uint64

var (
	_ json.Unmarshaler = (*Count)(nil)
	_ json.Marshaler   = Count(0)
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return fmt.Errorf("%w: %q is not a whole number of at least 1", ErrValue, text)
	}
	*c = Count(n)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (c Count) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(c), 10), nil }

// UnmarshalJSON implements [json.Unmarshaler]: a count is a number there.
func (c *Count) UnmarshalJSON(b []byte) error { return c.UnmarshalText(b) }

// MarshalJSON implements [json.Marshaler].
func (c Count) MarshalJSON() ([]byte, error) { return c.MarshalText() }

// Name is the name of a camera or of a member: 1 to 32 of a-z 0-9 _ -, beginning with a letter or digit.
type Name string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Name) UnmarshalText(text []byte) error {
	if err := frames.ValidCamera(string(text)); err != nil {
		return fmt.Errorf("%w: %q is not a name: want 1 to 32 of a-z 0-9 _ -, beginning with a letter or digit", ErrValue, text)
	}
	*n = Name(text)
	return nil
}

// OnFull is what a run does when its budget is full.
type OnFull string

// The policies. The empty one stands for OnFullPause where the source can pause, else OnFullDrop.
const (
	OnFullPause OnFull = "pause" // stop the source until there is room
	OnFullDrop  OnFull = "drop"  // the newest frame goes to the ledger
	OnFullFail  OnFull = "fail"  // end the run in order
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *OnFull) UnmarshalText(text []byte) error {
	return oneOf((*string)(o), string(text), string(OnFullPause), string(OnFullDrop), string(OnFullFail))
}

// AnalyzePolicy is what the analyze group is promised: link.Lossless or link.Latest as a word.
type AnalyzePolicy string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *AnalyzePolicy) UnmarshalText(text []byte) error {
	return oneOf((*string)(p), string(text), "latest", "lossless")
}

// SpectrumOf says which frames have their spatial spectrum computed.
type SpectrumOf string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *SpectrumOf) UnmarshalText(text []byte) error {
	return oneOf((*string)(o), string(text), "newest", "all")
}

// Way is how pixels come to members.
type Way string

// The ways.
const (
	WayAuto      Way = "auto"
	WaySlab      Way = "shm"
	WayJetStream Way = "jetstream"
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *Way) UnmarshalText(text []byte) error {
	return oneOf((*string)(w), string(text), string(WayAuto), string(WaySlab), string(WayJetStream))
}

// Storage is where a stream lies.
type Storage string

// The storages.
const (
	StorageMemory Storage = "memory"
	StorageFile   Storage = "file"
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Storage) UnmarshalText(text []byte) error {
	return oneOf((*string)(s), string(text), string(StorageMemory), string(StorageFile))
}

// Replicas is on how many servers a stream lies: an odd number, so that a majority is one.
type Replicas int

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Replicas) UnmarshalText(text []byte) error {
	switch string(text) {
	case "1", "3", "5":
		*r = Replicas(text[0] - '0')
		return nil
	}
	return fmt.Errorf("%w: %q is none of 1, 3, 5", ErrValue, text)
}

// Window is the name of a window function.
type Window string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *Window) UnmarshalText(text []byte) error {
	return oneOf((*string)(w), string(text), "hann", "none")
}

// oneOf sets dst to s when it is one of words.
func oneOf(dst *string, s string, words ...string) error {
	for _, w := range words {
		if s == w {
			*dst = s
			return nil
		}
	}
	return fmt.Errorf("%w: %q is none of %s", ErrValue, s, strings.Join(words, ", "))
}

// Compress is a codec and its level.
type Compress struct {
	Codec string // "none", "zstd" or "blosc-zstd"
	Level int    // zstd's, 1 to 22; Blosc's, 1 to 9; 0 for none
}

// DefaultLevel is the level where none is named: the fastest.
const DefaultLevel = 1

// levels are the codecs that have levels, each with its highest.
var levels = map[string]int{"zstd": 22, "blosc-zstd": 9}

// UnmarshalText implements [encoding.TextUnmarshaler]: "none", or a codec with or without ":LEVEL".
func (c *Compress) UnmarshalText(text []byte) error {
	codec, level, given := strings.Cut(string(text), ":")
	if codec == "none" && !given {
		*c = Compress{Codec: codec}
		return nil
	}
	highest, known := levels[codec]
	if !known {
		return fmt.Errorf("%w: %q is none of none, zstd, zstd:LEVEL, blosc-zstd and blosc-zstd:LEVEL", ErrValue, text)
	}
	n := DefaultLevel
	if given {
		var err error
		if n, err = strconv.Atoi(level); err != nil || n < 1 || n > highest {
			return fmt.Errorf("%w: %s level %q is not 1 to %d", ErrValue, codec, level, highest)
		}
	}
	*c = Compress{Codec: codec, Level: n}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (c Compress) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String is the form that UnmarshalText reads.
func (c Compress) String() string {
	if c.Level > 0 {
		return fmt.Sprintf("%s:%d", c.Codec, c.Level)
	}
	return c.Codec
}

// Requirement is a group that a run waits for before it starts, and how many members it needs.
type Requirement struct {
	Group   string
	Members int // at least 1
}

// UnmarshalText implements [encoding.TextUnmarshaler]: "writer" or "writer=2".
func (r *Requirement) UnmarshalText(text []byte) error {
	group, number, given := strings.Cut(string(text), "=")
	n := 1
	if given {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n < 1 || n > 1024 {
			return fmt.Errorf("%w: %q: %q is not a number of members from 1 to 1024", ErrValue, text, number)
		}
	}
	if group != "writer" && group != "analyze" {
		return fmt.Errorf("%w: %q: there is no group %q, only writer and analyze", ErrValue, text, group)
	}
	*r = Requirement{Group: group, Members: n}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (r Requirement) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s=%d", r.Group, r.Members), nil
}

// Grid is a number of rows and columns of tiles.
type Grid struct{ Rows, Columns int }

// UnmarshalText implements [encoding.TextUnmarshaler]: "ROWSxCOLUMNS", each 1 to 64.
func (g *Grid) UnmarshalText(text []byte) error {
	rows, columns, _ := strings.Cut(string(text), "x")
	r, errR := strconv.Atoi(rows)
	c, errC := strconv.Atoi(columns)
	if errR != nil || errC != nil || r < 1 || r > 64 || c < 1 || c > 64 {
		return fmt.Errorf("%w: %q is not ROWSxCOLUMNS, each 1 to 64", ErrValue, text)
	}
	*g = Grid{r, c}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (g Grid) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%dx%d", g.Rows, g.Columns), nil }
