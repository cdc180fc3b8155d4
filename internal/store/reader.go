package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Reader reads a store, also one that is being written: then it has the frames that were readable when it was
// opened. Its methods may be called concurrently.
type Reader struct {
	fs     vfs.FS
	at     layout
	attrs  Attributes
	length uint64

	mu      sync.Mutex
	decoder decoder    // guarded by mu; nil for codecNone
	shard   *openShard // guarded by mu: the shard that was read last
}

type openShard struct {
	no    uint64
	f     vfs.File // nil where no frame of the shard is durable
	spans []span
}

// Row is what the columns say of a frame.
type Row struct {
	State    frames.State
	FrameID  uint64
	DeviceNS int64
	HostNS   int64
	CRC      uint32 // crc32c of the stored chunk
}

// OpenReader opens the store at path for reading.
func OpenReader(fs vfs.FS, path string) (*Reader, error) {
	a, err := ReadAttributes(fs, path)
	if err != nil {
		return nil, err
	}
	r := &Reader{fs: fs, at: layout{path, a.Geometry.Channels}, attrs: a}
	if r.length, err = readLength(fs, r.at.join(imageName)); err != nil {
		return nil, err
	}
	if r.decoder, err = newDecoder(a.Spec); err != nil {
		return nil, err
	}
	return r, nil
}

// Attributes is what the store says of its run.
func (r *Reader) Attributes() Attributes { return r.attrs }

// Len is the number of frames, lost ones included.
func (r *Reader) Len() uint64 { return r.length }

// Close frees what the reader holds.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.decoder != nil {
		r.decoder.Close()
	}
	return r.drop()
}

func (r *Reader) drop() error {
	if r.shard == nil || r.shard.f == nil {
		r.shard = nil
		return nil
	}
	err := r.shard.f.Close()
	r.shard = nil
	return err
}

// Row reads the columns of one frame.
func (r *Reader) Row(seq uint64) (Row, error) {
	var row Row
	if seq >= r.length {
		return row, fmt.Errorf("reading frame %d: %w: the store has %d", seq, ErrFrame, r.length)
	}
	for _, c := range columns() {
		b := make([]byte, 8)
		if err := r.value(c, seq, b[:c.size]); err != nil {
			return row, fmt.Errorf("reading %s of frame %d: %w", c.name, seq, err)
		}
		v := binary.LittleEndian.Uint64(b)
		switch c.name {
		case colDevice:
			row.DeviceNS = int64(v)
		case colHost:
			row.HostNS = int64(v)
		case colFrameID:
			row.FrameID = v
		case colCRC:
			row.CRC = uint32(v)
		case colState:
			row.State = frames.State(v)
		}
	}
	return row, nil
}

func (r *Reader) value(c column, seq uint64, b []byte) error {
	k := r.attrs.ShardFrames
	f, err := r.fs.OpenFile(r.at.columnChunk(c.name, seq/k), 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(b, int64(seq%k)*int64(c.size))
	return err
}

// Frame appends the pixels of one frame to dst, zeros where it was lost.
func (r *Reader) Frame(dst []byte, seq uint64) ([]byte, error) {
	if seq >= r.length {
		return dst, fmt.Errorf("reading frame %d: %w: the store has %d", seq, ErrFrame, r.length)
	}
	out, err := r.frame(dst, seq)
	if err != nil {
		return dst, fmt.Errorf("reading frame %d: %w", seq, err)
	}
	return out, nil
}

func (r *Reader) frame(dst []byte, seq uint64) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sh, err := r.open(seq / r.attrs.ShardFrames)
	if err != nil {
		return dst, err
	}
	size := r.attrs.Geometry.FrameBytes()
	if sh.f == nil || sh.spans[seq%r.attrs.ShardFrames].empty() {
		return append(dst, make([]byte, size)...), nil
	}
	sp := sh.spans[seq%r.attrs.ShardFrames]
	chunk := make([]byte, sp.size)
	if _, err := sh.f.ReadAt(chunk, int64(sp.offset)); err != nil && !errors.Is(err, io.EOF) {
		return dst, err
	}
	n := len(dst)
	if r.decoder != nil {
		if dst, err = r.decoder.DecodeAll(chunk, dst); err != nil {
			return dst, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	} else {
		dst = append(dst, chunk...)
	}
	if len(dst)-n != size {
		return dst, fmt.Errorf("%w: a chunk of %d bytes, want %d", ErrCorrupt, len(dst)-n, size)
	}
	return dst, nil
}

func (r *Reader) open(no uint64) (*openShard, error) {
	if r.shard != nil && r.shard.no == no {
		return r.shard, nil
	}
	if err := r.drop(); err != nil {
		return nil, err
	}
	sh := &openShard{no: no}
	f, err := r.fs.OpenFile(r.at.shardFile(no), 0)
	switch {
	case vfs.IsNotExist(err):
	case err != nil:
		return nil, err
	default:
		if sh.spans, err = readIndex(f, r.attrs.ShardFrames); err != nil {
			f.Close()
			return nil, fmt.Errorf("reading shard %d: %w", no, err)
		}
		sh.f = f
	}
	r.shard = sh
	return sh, nil
}
