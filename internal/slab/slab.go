package slab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/clock"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Slab is acquire's side: it alone writes. The methods that name a slot may be called concurrently for different
// slots; the others as they say.
type Slab struct {
	layout
	spec run.Spec
	file *os.File
	mem  []byte

	stateMu sync.Mutex // guards state and number; it is taken last
	state   state
	number  uint64 // of the state's last change

	mu    sync.Mutex // guards free and table
	free  []int
	table *losses
}

// Config says what slab to create.
type Config struct {
	// Dir is the memory file system, /dev/shm. The file goes into a folder of this user below it.
	Dir   string
	Spec  run.Spec
	Slots int
}

// Create makes a new slab for a run and allocates all of it. It holds the file's lock until Close.
func Create(c Config) (*Slab, error) {
	if c.Slots < 1 || c.Slots > MaxSlots {
		return nil, fmt.Errorf("create slab of %d slots: want 1 to %d", c.Slots, MaxSlots)
	}
	if err := check(c.Spec); err != nil {
		return nil, fmt.Errorf("create slab: %w", err)
	}
	text, err := json.Marshal(c.Spec)
	if err != nil {
		return nil, fmt.Errorf("create slab: %w", err)
	}
	if len(text) > specSize {
		return nil, fmt.Errorf("create slab: %w has %d bytes as JSON, there is room for %d", ErrSpec, len(text), specSize)
	}
	dir, err := userDir(c.Dir)
	if err != nil {
		return nil, err
	}
	l := newLayout(c.Spec, c.Slots, len(text))
	if err := Room(c.Dir, int64(l.total)); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s.%s.%s%s", c.Spec.Camera, c.Spec.Run.Short(), frames.NewRunID().Short(), suffix))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create slab: %w", err)
	}
	s, err := newSlab(f, l, c.Spec, text)
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	return s, nil
}

func newSlab(f *os.File, l layout, spec run.Spec, text []byte) (*Slab, error) {
	if err := TryLock(f); err != nil {
		return nil, err
	}
	if err := f.Truncate(int64(l.total)); err != nil {
		return nil, fmt.Errorf("create slab: %w", err)
	}
	s, err := mapSlab(f, l, spec)
	if err != nil {
		return nil, err
	}
	enlarge(f, s.mem)
	if err := allocate(f, s.mem); err != nil {
		return nil, errors.Join(err, unmap(s.mem))
	}
	l.put(s.mem[:PageSize+specSize], text)
	s.update(func(st *state) {
		st[wPhase], st[wSession] = uint64(Capturing), 1
		c := clock.New()
		st[wWall], st[wBegan] = uint64(c.Wall), uint64(c.Began)
	})
	s.index()
	return s, nil
}

// Resume opens a slab whose acquire has died, to go on with its run. The error wraps ErrInUse when it lives, and
// [fs.ErrNotExist] when its run is over.
func Resume(path string) (*Slab, error) {
	f, err := openFile(path, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("resume slab: %w", err)
	}
	s, err := resume(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("resume slab: %w", err)
	}
	return s, nil
}

func resume(f *os.File) (*Slab, error) {
	if err := TryLock(f); err != nil {
		return nil, err
	}
	// Its last owner may have removed it between our opening and our locking it.
	if _, err := os.Lstat(f.Name()); err != nil {
		return nil, err
	}
	l, spec, err := readHeader(f)
	if err != nil {
		return nil, err
	}
	s, err := mapSlab(f, l, spec)
	if err != nil {
		return nil, err
	}
	if s.state, s.number, err = newestState(s.mem, spec.ShardFrames); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), unmap(s.mem))
	}
	s.update(func(st *state) { st[wSession]++ })
	s.repair()
	s.index()
	return s, nil
}

func mapSlab(f *os.File, l layout, spec run.Spec) (*Slab, error) {
	mem, err := mapFile(f, l.total, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	return &Slab{layout: l, spec: spec, file: f, mem: mem}, nil
}

// repair brings the slots and the counters in line after a kill: a slot that was being filled is free, a frame
// or loss that was stored counts as captured.
func (s *Slab) repair() {
	for i := range s.slots {
		r := slotAt(s.mem, s.layout, i)
		g := r.generation.Load()
		if g%2 == 1 || r.holders.Load() != 0 && r.checksum() != r.crc {
			r.holders.Store(0)
			r.generation.Store(g + g%2)
			continue
		}
		if r.holders.Load() != 0 {
			s.newest(r.seq+1, r.frameID, r.hostNS, r.hostNS, r.deviceNS)
		}
	}
	table := newLosses(s.lossTable())
	table.repair()
	for _, l := range table.pending() {
		s.newest(l.End(), l.LastFrameID, l.FirstNS, l.LastNS, 0)
	}
}

func (s *Slab) lossTable() []byte { return s.mem[s.lossesAt : s.lossesAt+s.losses*lossSize] }

// newest records the newest frame, or lost range, that ends before seq end, unless a newer one is recorded. A device
// time of 0 is that of lost frames: nobody knows it.
func (s *Slab) newest(end, frameID uint64, firstNS, lastNS, deviceNS int64) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	st := &s.state
	if end <= st[wCaptured] {
		return
	}
	if st[wFirstNS] == 0 {
		st[wFirstNS] = uint64(firstNS)
	}
	if deviceNS != 0 {
		st[wDeviceNS] = uint64(deviceNS)
	}
	st[wLastNS], st[wFrameID], st[wCaptured] = uint64(lastNS), frameID, end
	s.publish()
}

// index finds what is free.
func (s *Slab) index() {
	s.table = newLosses(s.lossTable())
	s.free = make([]int, 0, s.slots)
	for i := s.slots - 1; i >= 0; i-- {
		if slotAt(s.mem, s.layout, i).holders.Load() == 0 {
			s.free = append(s.free, i)
		}
	}
}

// Path is the file's.
func (s *Slab) Path() string { return s.file.Name() }

// Spec is the run's description.
func (s *Slab) Spec() run.Spec { return s.spec }

// Clock is the run's: what its frames are stamped with.
func (s *Slab) Clock() clock.Run {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.clock()
}

// clock is Clock; the caller holds stateMu.
func (s *Slab) clock() clock.Run {
	return clock.Run{Wall: int64(s.state[wWall]), Began: int64(s.state[wBegan])}
}

// Slots is the number of slots, Stride the bytes each takes.
func (s *Slab) Slots() int { return s.slots }

// Stride is the size of a slot in bytes: what a frame takes of the budget.
func (s *Slab) Stride() int { return s.stride }

// Bytes is the size of the whole file.
func (s *Slab) Bytes() int { return s.total }

// Take gives a free slot to the caller and marks it as being filled; false when none is free. The slot's
// generation is odd from here until Commit.
func (s *Slab) Take() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		return 0, false
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	slotAt(s.mem, s.layout, i).generation.Add(1)
	return i, true
}

// Pixels is the memory of a slot's frame, with the capacity of the whole slot.
func (s *Slab) Pixels(slot int) []byte {
	at := s.dataAt + slot*s.stride
	return s.mem[at : at+s.frameBytes : at+s.stride]
}

// Commit completes a frame: from here on it survives the process. holders has a bit for each lossless group. It
// is called in the order of seq, and never at the same time as an AddLoss of frames that are newer than any other.
func (s *Slab) Commit(slot int, h frames.Header, holders uint32) Record {
	r := slotAt(s.mem, s.layout, slot)
	r.seq, r.frameID, r.deviceNS, r.hostNS, r.pixelsCRC = h.Seq, h.FrameID, h.DeviceNS, h.HostNS, h.Checksum
	r.crc = r.checksum()
	r.holders.Store(holders)
	r.generation.Add(1)
	s.newest(h.Seq+1, h.FrameID, h.HostNS, h.HostNS, h.DeviceNS)
	return r.record()
}

// Record is the state of a slot. It returns an error wrapping ErrRange for a slot that does not exist.
func (s *Slab) Record(slot int) (Record, error) {
	if slot < 0 || slot >= s.slots {
		return Record{}, fmt.Errorf("slot %d of %d: %w", slot, s.slots, ErrRange)
	}
	return slotAt(s.mem, s.layout, slot).record(), nil
}

// Let takes group g's hold off a slot and returns the holders that are left.
func (s *Slab) Let(slot, g int) uint32 {
	bit := uint32(1) << g
	return slotAt(s.mem, s.layout, slot).holders.And(^bit) &^ bit
}

// Free gives a slot back that nobody holds. A slot that was taken and not committed is given back by Discard.
func (s *Slab) Free(slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, slot)
}

// Discard gives a slot back that was taken and not committed.
func (s *Slab) Discard(slot int) {
	slotAt(s.mem, s.layout, slot).holders.Store(0)
	slotAt(s.mem, s.layout, slot).generation.Add(1)
	s.Free(slot)
}

// Held calls f for every slot that a lossless group holds, in no order.
func (s *Slab) Held(f func(slot int, r Record)) {
	for i := range s.slots {
		if r := slotAt(s.mem, s.layout, i).record(); r.Holders != 0 {
			f(i, r)
		}
	}
}

// AddLoss stores a range and returns its entry's number. Frames of the range count as captured from here on.
func (s *Slab) AddLoss(l frames.Loss) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addLoss(l, 1)
}

// addLoss is AddLoss that leaves so many entries free. The caller holds mu.
func (s *Slab) addLoss(l frames.Loss, spare int) (int, error) {
	i, err := s.table.add(l, spare)
	if err != nil {
		return 0, err
	}
	s.newest(l.End(), l.LastFrameID, l.FirstNS, l.LastNS, 0)
	return i, nil
}

// ReplaceLoss replaces entry i by l, which holds it or is the rest of it, and returns the new number. There is always room
// for that.
func (s *Slab) ReplaceLoss(i int, l frames.Loss) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.addLoss(l, 0)
	if err != nil {
		return i, err
	}
	s.table.remove(i)
	return j, nil
}

// RemoveLoss forgets a range: its ledger line is synced. To forget one twice does nothing.
func (s *Slab) RemoveLoss(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.remove(i)
}

// LossRoom is how many more ranges there is room for, of how many.
func (s *Slab) LossRoom() (room, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(len(s.table.free)-1, 0), s.table.size() - 1
}

// Losses returns the pending ranges by entry.
func (s *Slab) Losses() map[int]frames.Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.pending()
}

// Remove unlinks the file. Mappings of it stay good.
func (s *Slab) Remove() error { return os.Remove(s.file.Name()) }

// Close unmaps the slab and gives up the lock. After it only the numbers of the run may be asked for and changed, which
// changes nothing any more.
func (s *Slab) Close() error {
	s.stateMu.Lock()
	mem := s.mem
	s.mem = nil
	s.stateMu.Unlock()
	err := unmap(mem)
	if e := s.file.Close(); err == nil {
		err = e
	}
	return err
}
