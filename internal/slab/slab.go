package slab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

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
	n    *counters

	mu     sync.Mutex // guards free and losses
	free   []int
	losses *losses
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
	if err := allocate(f, l.total); err != nil {
		return nil, err
	}
	s, err := mapSlab(f, l, spec)
	if err != nil {
		return nil, err
	}
	l.put(s.mem[:PageSize+specSize], text)
	s.n.phase.Store(uint32(Capturing))
	s.n.session.Store(1)
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
	s.n.session.Add(1)
	s.repair()
	s.index()
	return s, nil
}

func mapSlab(f *os.File, l layout, spec run.Spec) (*Slab, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, l.total, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map slab %s: %w", f.Name(), err)
	}
	return &Slab{layout: l, spec: spec, file: f, mem: mem, n: countersAt(mem)}, nil
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
		if r.holders.Load() != 0 && r.seq >= s.n.captured.Load() {
			s.newest(r.seq+1, r.frameID, r.hostNS, r.hostNS)
			s.n.deviceNS.Store(r.deviceNS)
		}
	}
	table := newLosses(s.lossTable())
	table.repair()
	for _, l := range table.pending() {
		s.newest(l.End(), l.LastFrameID, l.FirstNS, l.LastNS)
	}
}

func (s *Slab) lossTable() []byte { return s.mem[s.lossesAt : s.lossesAt+lossEntries*lossSize] }

// newest records the newest frame, or lost range, that ends before seq end, unless a newer one is recorded.
func (s *Slab) newest(end, frameID uint64, firstNS, lastNS int64) {
	if end <= s.n.captured.Load() {
		return
	}
	s.n.firstNS.CompareAndSwap(0, firstNS)
	s.n.lastNS.Store(lastNS)
	s.n.frameID.Store(frameID)
	s.n.captured.Store(end)
}

// index finds what is free.
func (s *Slab) index() {
	s.losses = newLosses(s.lossTable())
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
	r.seq, r.frameID, r.deviceNS, r.hostNS = h.Seq, h.FrameID, h.DeviceNS, h.HostNS
	r.crc = r.checksum()
	r.holders.Store(holders)
	r.generation.Add(1)
	s.n.deviceNS.Store(h.DeviceNS)
	s.newest(h.Seq+1, h.FrameID, h.HostNS, h.HostNS)
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
	i, err := s.losses.add(l)
	if err != nil {
		return 0, err
	}
	s.newest(l.End(), l.LastFrameID, l.FirstNS, l.LastNS)
	return i, nil
}

// GrowLoss replaces entry i by l, which holds it, and returns the new number.
func (s *Slab) GrowLoss(i int, l frames.Loss) (int, error) {
	j, err := s.AddLoss(l)
	if err != nil {
		return i, err
	}
	s.RemoveLoss(i)
	return j, nil
}

// RemoveLoss forgets a range: its ledger line is synced. To forget one twice does nothing.
func (s *Slab) RemoveLoss(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.losses.remove(i)
}

// Losses returns the pending ranges by entry.
func (s *Slab) Losses() map[int]frames.Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses.pending()
}

// Captured is how many frames the run has, lost ones included.
func (s *Slab) Captured() uint64 { return s.n.captured.Load() }

// NextEpoch gives out a shard epoch, larger than every one before it in this run.
func (s *Slab) NextEpoch() uint64 { return s.n.epoch.Add(1) }

// Epoch is the newest shard epoch that was given out.
func (s *Slab) Epoch() uint64 { return s.n.epoch.Load() }

// Account counts n more frames as durable, or as lost for a reason that is in a ledger. The counts are for people: a
// kill between a release and its count leaves them one short.
func (s *Slab) Account(state frames.State, n uint64) {
	if int(state) < stateCount {
		s.n.ended[state].Add(n)
	}
}

// Accounted is the sum of what Account was told of a state, in this process and those before it.
func (s *Slab) Accounted(state frames.State) uint64 {
	if int(state) >= stateCount {
		return 0
	}
	return s.n.ended[state].Load()
}

// Sealed is the number of the first shard that is not known to be sealed; SetSealed advances it.
func (s *Slab) Sealed() uint64 { return s.n.sealed.Load() }

// SetSealed records that every shard below n is sealed.
func (s *Slab) SetSealed(n uint64) {
	for old := s.n.sealed.Load(); old < n && !s.n.sealed.CompareAndSwap(old, n); old = s.n.sealed.Load() {
	}
}

// Session counts the acquire processes that have held the slab, this one included.
func (s *Slab) Session() uint64 { return s.n.session.Load() }

// Phase is how far the run has come.
func (s *Slab) Phase() Phase { return Phase(s.n.phase.Load()) }

// SetPhase records how far the run has come.
func (s *Slab) SetPhase(p Phase) { s.n.phase.Store(uint32(p)) }

// Last describes the newest frame: host times of the run's first and newest frame, the newest one's frame id
// and device time.
func (s *Slab) Last() (firstNS, lastNS int64, frameID uint64, deviceNS int64) {
	return s.n.firstNS.Load(), s.n.lastNS.Load(), s.n.frameID.Load(), s.n.deviceNS.Load()
}

// Remove unlinks the file. Mappings of it stay good.
func (s *Slab) Remove() error { return os.Remove(s.file.Name()) }

// Close unmaps the slab and gives up the lock; no method may be called after it.
func (s *Slab) Close() error {
	err := unix.Munmap(s.mem)
	s.mem, s.n = nil, nil
	if e := s.file.Close(); err == nil {
		err = e
	}
	return err
}
