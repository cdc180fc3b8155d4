package store

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The columns, in the order in which a shard writes them. The state is last: a shard that has it is sealed.
const (
	colDevice  = "time_device_ns"
	colHost    = "time_host_ns"
	colFrameID = "frame_id"
	colCRC     = "crc32c"
	colState   = "state"
)

// column is one property of every frame, a one-dimensional array along t.
type column struct {
	name  string
	dtype string
	size  int // bytes of a value
	// put writes a durable frame's value in little-endian order. Lost frames have the fill value 0.
	put func(b []byte, r record)
	// take is the inverse of put; nil for what is no part of a record.
	take func(b []byte, r *record)
}

func columns() []column {
	le := binary.LittleEndian
	return []column{
		{
			colDevice, "int64", 8,
			func(b []byte, r record) { le.PutUint64(b, uint64(r.DeviceNS)) },
			func(b []byte, r *record) { r.DeviceNS = int64(le.Uint64(b)) },
		},
		{
			colHost, "int64", 8,
			func(b []byte, r record) { le.PutUint64(b, uint64(r.HostNS)) },
			func(b []byte, r *record) { r.HostNS = int64(le.Uint64(b)) },
		},
		{
			colFrameID, "uint64", 8,
			func(b []byte, r record) { le.PutUint64(b, r.FrameID) },
			func(b []byte, r *record) { r.FrameID = le.Uint64(b) },
		},
		{
			colCRC, "uint32", 4,
			func(b []byte, r record) { le.PutUint32(b, r.CRC) },
			func(b []byte, r *record) { r.CRC = le.Uint32(b) },
		},
		{colState, "uint8", 1, func(b []byte, _ record) { b[0] = byte(frames.Durable) }, nil},
	}
}

// columnMeta describes a column when its first t values can be read.
func columnMeta(s run.Spec, c column, t uint64) arrayMeta {
	m := newArray([]uint64{t}, []uint64{s.ShardFrames}, c.dtype)
	m.Codecs = append(m.Codecs, codecMeta{Name: "crc32c"})
	switch c.name {
	case colDevice:
		m.Attributes["unit"] = "nanosecond"
		m.Attributes["clock"] = s.Device.Clock
		m.Attributes["stamps"] = s.Device.Stamps
	case colHost:
		m.Attributes["unit"] = "nanosecond"
		m.Attributes["clock"] = "host's time of arrival since 1970-01-01 UTC"
	case colCRC:
		m.Attributes["of"] = "the chunk's bytes as they are stored in the shard"
	case colState:
		names := map[string]string{}
		for v := frames.Absent; v <= frames.HostLost; v++ {
			names[strconv.Itoa(int(v))] = v.String()
		}
		m.Attributes["values"] = names
	}
	return m
}

// encodeColumn makes a shard's chunk of a column: K values, zeros after the run's last frame, and their crc32c (the
// codec of that name).
func encodeColumn(c column, state []frames.State, recs []record) []byte {
	b := make([]byte, len(state)*c.size, len(state)*c.size+crcSize)
	for i, st := range state {
		switch {
		case st == frames.Durable:
			c.put(b[i*c.size:], recs[i])
		case c.name == colState:
			b[i] = byte(st)
		}
	}
	return seal(b, 0)
}

// crcSize is the length of a crc32c in bytes.
const crcSize = 4

// readColumn reads the k values of a shard's chunk of a column. Where only their checksum does not hold it returns them
// all the same, with an error that wraps ErrCorrupt.
func readColumn(fs vfs.FS, at layout, c column, shard, k uint64) ([]byte, error) {
	size := int64(k) * int64(c.size)
	b, err := readFile(fs, at.columnChunk(c.name, shard), size+crcSize)
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) != size+crcSize:
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, len(b), size+crcSize)
	case castagnoli(b[:size]) != binary.LittleEndian.Uint32(b[size:]):
		return b[:size], fmt.Errorf("%w: its crc32c is wrong", ErrCorrupt)
	}
	return b[:size], nil
}
