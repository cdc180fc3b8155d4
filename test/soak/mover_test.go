package soak_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// mover does what a facility does with a run that is longer than the disk: it takes each sealed shard away while the run
// goes on. Before, it checks every frame, with nothing of the store's own code: the index and its checksum, the chunk's
// crc32c against its column, and the bytes against the camera's pattern.
type mover struct {
	store   string
	shard   uint64 // frames in one
	pattern sim.Pattern
	want    []byte
	got     []byte // aligned, for direct reads: what the mover reads shall not count as the writers' page cache

	next uint64 // the first shard that is not checked

	mu      sync.Mutex // guards what follows
	durable uint64
	lost    map[uint64]frames.State
	pending []string // sealed shards that were not moved yet
}

func newMover(store, source string, shardFrames uint64) (*mover, error) {
	pattern, size, err := sim.Expected(source)
	if err != nil {
		return nil, err
	}
	if size%vfs.Block != 0 {
		return nil, fmt.Errorf("frames of %d bytes are not whole blocks of %d", size, vfs.Block)
	}
	return &mover{
		store: store, shard: shardFrames, pattern: pattern, want: make([]byte, size), got: vfs.Alloc(size),
		lost: map[uint64]frames.State{},
	}, nil
}

// run moves shards until ctx ends. What is left then is all's.
func (m *mover) run(ctx context.Context) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		n, err := m.readable()
		if err != nil {
			return err
		}
		m.wait(n / m.shard)
		for m.next < n/m.shard && ctx.Err() == nil {
			if err := m.move(m.shard); err != nil {
				return err
			}
		}
	}
}

// all moves what a run with so many frames has left.
func (m *mover) all(captured uint64) error {
	switch n, err := m.readable(); {
	case err != nil:
		return err
	case n != captured:
		return fmt.Errorf("readers find %d frames, captured are %d", n, captured)
	}
	for m.next*m.shard < captured {
		if err := m.move(min(m.shard, captured-m.next*m.shard)); err != nil {
			return err
		}
	}
	return nil
}

// readable is how many frames the store offers to readers.
func (m *mover) readable() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(m.store, "0", "zarr.json"))
	if err != nil {
		return 0, err
	}
	var array struct{ Shape []uint64 }
	if err := json.Unmarshal(b, &array); err != nil || len(array.Shape) == 0 {
		return 0, fmt.Errorf("the image's metadata: %q: %w", b, err)
	}
	return array.Shape[0], nil
}

func (m *mover) file(shard uint64) string {
	return filepath.Join(m.store, "0", "c", strconv.FormatUint(shard, 10), "0", "0")
}

// wait notes which shards wait to be moved.
func (m *mover) wait(until uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = m.pending[:0]
	for no := m.next; no < until; no++ {
		m.pending = append(m.pending, m.file(no))
	}
}

// move checks the next shard, which has so many frames, and frees what its data takes on the disk. The file stays with
// its length and its index, as a hierarchical storage leaves it: a shard that is gone would be damage to the store.
func (m *mover) move(count uint64) error {
	if err := m.check(count); err != nil {
		return fmt.Errorf("shard %d: %w", m.next, err)
	}
	f, err := os.OpenFile(m.file(m.next), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist): // no frame of it is durable
	case err != nil:
		return err
	default:
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		data := info.Size() - int64(16*m.shard+4)
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, data); err != nil {
			return fmt.Errorf("freeing %s: %w", f.Name(), err)
		}
	}
	m.next++
	return nil
}

func (m *mover) check(count uint64) error {
	states, err := m.column("state", 1)
	if err != nil {
		return err
	}
	sums, err := m.column("crc32c", 4)
	if err != nil {
		return err
	}
	index, err := m.index()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.file(m.next), os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.Open(m.file(m.next))
	}
	if err != nil && (index != nil || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	defer f.Close()
	for i := range m.shard {
		seq, state := m.next*m.shard+i, frames.State(states[i])
		offset, size := uint64(1<<64-1), uint64(1<<64-1)
		if index != nil {
			offset, size = binary.LittleEndian.Uint64(index[16*i:]), binary.LittleEndian.Uint64(index[16*i+8:])
		}
		empty := offset == 1<<64-1 && size == 1<<64-1
		switch {
		case i < count && state == frames.Durable && size == uint64(len(m.want)):
			if _, err := f.ReadAt(m.got, int64(offset)); err != nil {
				return fmt.Errorf("frame %d: %w", seq, err)
			}
			if crc := crc32.Checksum(m.got, crc32.MakeTable(crc32.Castagnoli)); crc != binary.LittleEndian.Uint32(sums[4*i:]) {
				return fmt.Errorf("frame %d: its crc32c is %08x, the column has %x", seq, crc, sums[4*i:4*i+4])
			}
			if m.pattern.Fill(m.want, seq); !bytes.Equal(m.got, m.want) {
				return fmt.Errorf("frame %d is not what the camera made", seq)
			}
			m.account(seq, state)
		case i < count && state.Lost() && empty:
			m.account(seq, state)
		case i >= count && state == frames.Absent && empty:
		default:
			return fmt.Errorf("frame %d: state %s, %d bytes at %d", seq, state, size, offset)
		}
	}
	return nil
}

// account counts a frame that is as it says.
func (m *mover) account(seq uint64, state frames.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if state == frames.Durable {
		m.durable++
	} else {
		m.lost[seq] = state
	}
}

// column reads the shard's chunk of a column and checks it.
func (m *mover) column(name string, size uint64) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(m.store, "frames", name, "c", strconv.FormatUint(m.next, 10)))
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) != m.shard*size+4 {
		return nil, fmt.Errorf("the column %s has %d bytes", name, len(b))
	}
	return sealed(name, b)
}

// sealed is b without the crc32c that ends it, which must hold.
func sealed(name string, b []byte) ([]byte, error) {
	n := len(b) - 4
	if crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, fmt.Errorf("%s has a wrong crc32c", name)
	}
	return b[:n], nil
}

// index reads the index at the end of the shard's file, nil where no frame of the shard is durable and there is no file.
func (m *mover) index() ([]byte, error) {
	f, err := os.Open(m.file(m.next))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 16*m.shard+4)
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	return sealed("the index", b)
}

// files lists the shards' files on the disk, open and sealed.
func (m *mover) files() []string {
	open, err := filepath.Glob(filepath.Join(m.store, ".sluice", "*.data*"))
	if err != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(open, m.pending...)
}
