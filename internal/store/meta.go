package store

import (
	"encoding/json"
	"fmt"

	"github.com/sluicedaq/sluice/internal/blosc"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Attributes is what a store's group says of its run, under "sluice".
type Attributes struct {
	Format int `json:"format"`
	run.Spec
	// Finished is set when every frame of [0, Captured) is durable or in the ledger and nothing will change.
	Finished bool `json:"finished"`
	// Captured is how many frames the camera produced; nil before the end.
	Captured *uint64      `json:"captured"`
	Summary  *run.Summary `json:"summary,omitempty"`
}

// codecMeta is a codec, or any other named extension, in Zarr metadata.
type codecMeta struct {
	Name          string `json:"name"`
	Configuration any    `json:"configuration,omitempty"`
}

// arrayMeta is an array's zarr.json.
type arrayMeta struct {
	ZarrFormat       int            `json:"zarr_format"`
	NodeType         string         `json:"node_type"`
	Shape            []uint64       `json:"shape"`
	DataType         string         `json:"data_type"`
	ChunkGrid        codecMeta      `json:"chunk_grid"`
	ChunkKeyEncoding codecMeta      `json:"chunk_key_encoding"`
	FillValue        int            `json:"fill_value"`
	Codecs           []codecMeta    `json:"codecs"`
	DimensionNames   []string       `json:"dimension_names"`
	Attributes       map[string]any `json:"attributes"`
}

// groupMeta is a group's zarr.json.
type groupMeta struct {
	ZarrFormat int    `json:"zarr_format"`
	NodeType   string `json:"node_type"`
	Attributes any    `json:"attributes"`
}

type chunkShape struct {
	ChunkShape []uint64 `json:"chunk_shape"`
}

type shardingConfig struct {
	ChunkShape    []uint64    `json:"chunk_shape"`
	Codecs        []codecMeta `json:"codecs"`
	IndexCodecs   []codecMeta `json:"index_codecs"`
	IndexLocation string      `json:"index_location"`
}

func littleEndian() codecMeta {
	return codecMeta{"bytes", map[string]string{"endian": "little"}}
}

func newArray(shape, chunk []uint64, dtype string) arrayMeta {
	return arrayMeta{
		ZarrFormat:       3,
		NodeType:         "array",
		Shape:            shape,
		DataType:         dtype,
		ChunkGrid:        codecMeta{"regular", chunkShape{chunk}},
		ChunkKeyEncoding: codecMeta{"default", map[string]string{"separator": "/"}},
		Codecs:           []codecMeta{littleEndian()},
		DimensionNames:   []string{"t"},
		Attributes:       map[string]any{},
	}
}

// imageMeta describes the image array when its first t frames can be read.
func imageMeta(s run.Spec, t uint64) arrayMeta {
	frame := make([]uint64, 0, 3)
	for _, n := range s.Geometry.Shape() {
		frame = append(frame, uint64(n))
	}
	with := func(first uint64) []uint64 { return append([]uint64{first}, frame...) }
	m := newArray(with(t), with(s.ShardFrames), s.Geometry.Dtype.String())
	inner := []codecMeta{littleEndian()}
	switch s.Codec {
	case codecZstd:
		inner = append(inner, codecMeta{"zstd", map[string]any{"level": s.Level, "checksum": false}})
	case codecBlosc:
		inner = append(inner, codecMeta{"blosc", bloscMeta(s)})
	}
	m.Codecs = []codecMeta{{"sharding_indexed", shardingConfig{
		ChunkShape:    with(1),
		Codecs:        inner,
		IndexCodecs:   []codecMeta{littleEndian(), {Name: "crc32c"}},
		IndexLocation: "end",
	}}}
	m.DimensionNames = axisNames(s.Geometry)
	return m
}

// bloscMeta is the configuration of Zarr's blosc codec (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/blosc/).
func bloscMeta(s run.Spec) map[string]any {
	size := s.Geometry.Dtype.Size()
	shuffle := "noshuffle"
	if size > 1 {
		shuffle = "shuffle"
	}
	return map[string]any{"cname": "zstd", "clevel": s.Level, "shuffle": shuffle, "typesize": size, "blocksize": blosc.BlockBytes}
}

func axisNames(g frames.Geometry) []string {
	if g.Channels == 1 {
		return []string{"t", "y", "x"}
	}
	return []string{"t", "c", "y", "x"}
}

// rootMeta is the store's own zarr.json.
func rootMeta(a Attributes) groupMeta {
	return groupMeta{ZarrFormat: 3, NodeType: "group", Attributes: map[string]any{"ome": omeMeta(a.Spec), "sluice": a}}
}

type omeAxis struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
}

// omeMeta is the OME-Zarr 0.5 description of the image (https://ngff.openmicroscopy.org/0.5/). Where the rate
// or the pixel's size is unknown the axis has no unit and the scale 1.
func omeMeta(s run.Spec) any {
	axes := []omeAxis{{Name: "t", Type: "time"}}
	scale := []float64{1}
	if s.FPS > 0 {
		axes[0].Unit, scale[0] = "second", 1/s.FPS
	}
	if s.Geometry.Channels > 1 {
		axes, scale = append(axes, omeAxis{Name: "c", Type: "channel"}), append(scale, 1)
	}
	pixel, unit := 1.0, ""
	if s.PixelSizeUM > 0 {
		pixel, unit = s.PixelSizeUM, "micrometer"
	}
	axes = append(axes, omeAxis{"y", "space", unit}, omeAxis{"x", "space", unit})
	scale = append(scale, pixel, pixel)
	return map[string]any{
		"version": "0.5",
		"multiscales": []any{map[string]any{
			"name": s.Camera,
			"axes": axes,
			"datasets": []any{map[string]any{
				"path":                      imageName,
				"coordinateTransformations": []any{map[string]any{"type": "scale", "scale": scale}},
			}},
		}},
	}
}

// parseRoot reads a store's own zarr.json.
func parseRoot(b []byte) (Attributes, error) {
	var m struct {
		ZarrFormat int    `json:"zarr_format"`
		NodeType   string `json:"node_type"`
		Attributes struct {
			Sluice *Attributes `json:"sluice"`
		} `json:"attributes"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return Attributes{}, fmt.Errorf("%w: %w", ErrNotStore, err)
	}
	a := m.Attributes.Sluice
	switch {
	case m.ZarrFormat != 3 || m.NodeType != "group" || a == nil:
		return Attributes{}, fmt.Errorf("%w: it has no attributes of Sluice", ErrNotStore)
	case a.Format != Format:
		return Attributes{}, fmt.Errorf("%w: format %d, this version knows %d", ErrNotStore, a.Format, Format)
	}
	if err := checkSpec(a.Spec); err != nil {
		return Attributes{}, fmt.Errorf("%w: %w", ErrNotStore, err)
	}
	return *a, nil
}

// parseLength reads how many frames an array's zarr.json offers to readers.
func parseLength(b []byte) (uint64, error) {
	var m struct {
		NodeType string   `json:"node_type"`
		Shape    []uint64 `json:"shape"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if m.NodeType != "array" || len(m.Shape) == 0 {
		return 0, fmt.Errorf("%w: the metadata describes no array", ErrCorrupt)
	}
	return m.Shape[0], nil
}

// maxShardFrames bounds K, so that no store makes a reader take gigabytes for an index.
const maxShardFrames = 1 << 20

// checkSpec returns an error that wraps ErrSpec unless a store can be made for s.
func checkSpec(s run.Spec) error {
	if err := s.Geometry.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	switch {
	case s.Run.IsZero():
		return fmt.Errorf("%w: the run has no id", ErrSpec)
	case s.ShardFrames < 1 || s.ShardFrames > maxShardFrames:
		return fmt.Errorf("%w: %d frames a shard: want 1 to %d", ErrSpec, s.ShardFrames, maxShardFrames)
	case s.Codec != codecNone && s.Codec != codecZstd && s.Codec != codecBlosc:
		return fmt.Errorf("%w: codec %q is none of none, zstd and blosc-zstd", ErrSpec, s.Codec)
	case s.Codec == codecBlosc && (s.Level < 1 || s.Level > 9):
		return fmt.Errorf("%w: blosc-zstd level %d: want 1 to 9", ErrSpec, s.Level)
	case s.Codec == codecZstd && (s.Level < 1 || s.Level > 22):
		return fmt.Errorf("%w: zstd level %d: want 1 to 22", ErrSpec, s.Level)
	}
	return nil
}
