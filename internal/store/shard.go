package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// stage is how far a shard has come. It only grows.
type stage int

const (
	stageOpen      stage = iota // frames are added to the file in the work folder
	stagePublished              // the file has its final name; columns may be missing
	stageSealed                 // the columns are there; the arrays' lengths may not tell it
)

// Shard is one shard in the hands of its owner. Its methods may be called concurrently, except that no frame
// may be given to two Commits and that Seal and Close are called when no Commit runs.
type Shard struct {
	store *Store
	no    uint64
	epoch uint64
	first uint64 // its first seq

	data    vfs.File // nil when not open
	journal *journalFile
	sync    *flight // data and journal
	indexed bool    // the data file has its index; Seal's own, as sealing
	sealing bool    // what is written now is no frame
	alone   bool    // nobody else works on the store: epochs mean nothing

	names struct {
		sync.Mutex
		durable bool // those of data and journal
	}

	space struct {
		sync.Mutex
		end       int64 // where the next chunk goes
		allocated int64 // up to here the file has its space
	}

	mu        sync.Mutex
	stage     stage          // guarded by mu, as all below
	state     []frames.State // of each frame of the shard
	recs      []record       // of each durable frame
	damaged   []record       // frames that a former owner's journal promises and its file does not have
	accounted int            // how many states are not Absent
	broken    error          // why nothing is taken any more
	direct    error          // why data is not written past the page cache, when it is closed
}

// Frame is a frame to be made durable.
type Frame struct {
	Seq      uint64
	FrameID  uint64
	DeviceNS int64
	HostNS   int64
	// Pixels are lent until Commit returns. Memory that begins at a multiple of vfs.Block, with capacity up to
	// the next multiple behind its length, is written from where it is; all other is copied.
	Pixels []byte
	// Checksum is the CRC-32C of the pixels, 0 where it is not known: it is made of them then, or of what they are compressed to.
	Checksum uint32
	// Intact, if not nil, is asked after the pixels were read: an error means that they were not the frame's.
	Intact func() error
}

// Number is the shard's number.
func (s *Shard) Number() uint64 { return s.no }

// Epoch is the epoch under which the caller owns the shard.
func (s *Shard) Epoch() uint64 { return s.epoch }

// Sealed reports whether the shard was complete already when it was taken, or is now. Seal then only repeats
// what may be missing.
func (s *Shard) Sealed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage == stageSealed
}

// Published reports whether the shard's file has its final name: frames can't be added any more.
func (s *Shard) Published() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage >= stagePublished
}

// State is what is known to be durable of a frame: Durable, the reason of its loss, or Absent, also for frames
// of other shards.
func (s *Shard) State(seq uint64) frames.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq-s.first >= uint64(len(s.state)) {
		return frames.Absent
	}
	return s.state[seq-s.first]
}

// Missing is how many frames of the shard below end are neither durable nor in a ledger.
func (s *Shard) Missing(end uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.missing(end)
}

func (s *Shard) missing(end uint64) int {
	switch {
	case end <= s.first:
		return 0
	case end-s.first >= uint64(len(s.state)):
		return len(s.state) - s.accounted
	}
	n := 0
	for _, st := range s.state[:end-s.first] {
		if st == frames.Absent {
			n++
		}
	}
	return n
}

// Direct is nil while the shard is written past the page cache, else the reason.
func (s *Shard) Direct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		return s.direct
	}
	return s.data.Direct()
}

// Close gives up the shard as it is, without sealing it: what was committed stays for the next owner.
func (s *Shard) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = fmt.Errorf("%w: it was closed", ErrBroken)
	}
	return s.closeFiles()
}

// closeFiles closes what is open. The caller holds mu, or has the shard for itself.
func (s *Shard) closeFiles() error {
	var err error
	if s.data != nil {
		s.direct = s.data.Direct()
		err = s.data.Close()
	}
	if s.journal != nil {
		err = errors.Join(err, s.journal.f.Close())
	}
	s.data, s.journal = nil, nil
	return err
}

// usable returns why nothing can be added to the shard, nil where it can.
func (s *Shard) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// fail marks the shard as broken by err, unless it is already, and returns err with what it means.
func (s *Shard) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if errors.Is(err, ErrBroken) {
		return fmt.Errorf("shard %d: %w", s.no, err)
	}
	return fmt.Errorf("shard %d: %w: %w", s.no, ErrBroken, err)
}

// markDurable notes frames whose data and records are synced.
func (s *Shard) markDurable(recs []record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recs {
		i := r.Seq - s.first
		s.mark(i, frames.Durable)
		s.recs[i] = r
	}
}

// markLost notes losses whose ledger lines are synced. A frame that is durable stays so.
func (s *Shard) markLost(losses []frames.Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range losses {
		l, ok := clip(l, s.first, s.first+uint64(len(s.state)))
		for seq := l.Seq; ok && seq < l.End(); seq++ {
			if s.state[seq-s.first] == frames.Absent {
				s.mark(seq-s.first, l.Reason)
			}
		}
	}
}

func (s *Shard) mark(i uint64, st frames.State) {
	if s.state[i] == frames.Absent {
		s.accounted++
	}
	s.state[i] = st
}
