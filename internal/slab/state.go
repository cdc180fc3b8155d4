package slab

import (
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"unsafe"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// A word is one number of a slab's state.
type word int

const (
	wCaptured  word = iota // frames of the run so far, lost ones included
	wEpoch                 // last shard epoch given out
	wSealed                // every shard below this one is sealed
	wSession               // how many acquire processes have held the slab
	wPhase                 // a Phase
	wEnded                 // what ended the capture: its number among endings, 0 for nothing yet
	wFirstNS               // host time of the first frame, lost or not
	wLastNS                // host time of the last frame, lost or not
	wFrameID               // of the last frame, unwrapped
	wDeviceNS              // of the last frame
	wWall                  // the run's clock
	wBegan                 // the run's clock
	wTally                 // Tally counts from here
	wOutcome   = wTally + word(tallies)
	wReleased  = wOutcome + stateCount
	stateWords = wReleased + groupCount
)

const (
	// stateCount is the room for frames' states, groupCount for groups: there are fewer.
	stateCount = 16
	groupCount = 8
	// stateAt is where the first of the two copies of the state lies in the header, stateSize the distance of the other.
	stateAt   = 2048
	stateSize = 1024
	// maxUnsealed bounds the shards that a run may have open: a number beyond it is not a run's.
	maxUnsealed = 1 << 22
)

// endings are the words for what ended a capture, by the number that the state has for them. New ones come last.
func endings() []string {
	return []string{
		"", run.EndedFrames, run.EndedDuration, run.EndedSource, run.EndedStop, run.EndedFull, run.EndedCamera, run.EndedStalled,
		run.EndedDiskFull, run.EndedWriter, run.EndedHard, run.EndedDeadline, run.EndedInterrupted,
	}
}

// state is what changes in the header. Two copies of it lie in the mapped file, each with a number and a checksum: a
// change goes into the older one, so that a kill in the middle of it leaves the other. acquire alone writes it.
type state [stateWords]uint64

// copyOf is a state as it lies in the file. The number is that of the change, from 1; crc is the CRC-32C of all before.
type copyOf struct {
	number uint64
	words  state
	crc    atomic.Uint64
}

func copyAt(mem []byte, i int) *copyOf {
	return (*copyOf)(unsafe.Pointer(&mem[stateAt+i*stateSize]))
}

// checksum is over the memory itself: a copy would be an allocation for each frame.
func (c *copyOf) checksum() uint64 {
	return uint64(crc32.Checksum(unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Offsetof(c.crc)), castagnoli))
}

// publish makes s the newest state. It is called under a mutex.
func (s *state) publish(mem []byte, number uint64) {
	c := copyAt(mem, int(number%2))
	c.number, c.words = number, *s
	c.crc.Store(c.checksum())
}

// newestState reads the state of a slab and the number of its last change. Where its owner lives both copies may be in
// change while they are looked at: it looks again a few times.
func newestState(mem []byte, shardFrames uint64) (s state, number uint64, err error) {
	const tries = 100
	for range tries {
		for i := range 2 {
			var c copyOf
			at := copyAt(mem, i)
			c.number, c.words = at.number, at.words
			if c.checksum() == at.crc.Load() && c.number%2 == uint64(i) && c.number > number {
				s, number = c.words, c.number
			}
		}
		if number > 0 {
			return s, number, s.check(shardFrames)
		}
	}
	return s, 0, fmt.Errorf("%w: the checksums of its state are wrong", ErrDamaged)
}

// check refuses numbers that no run has come to.
func (s *state) check(shardFrames uint64) error {
	switch {
	case s[wPhase] < uint64(Capturing) || s[wPhase] > uint64(Armed):
		return fmt.Errorf("%w: its phase is %d", ErrDamaged, s[wPhase])
	case s[wEnded] >= uint64(len(endings())):
		return fmt.Errorf("%w: its run ended by reason %d, which nobody knows", ErrDamaged, s[wEnded])
	case s[wCaptured]/shardFrames > s[wSealed] && s[wCaptured]/shardFrames-s[wSealed] > maxUnsealed:
		return fmt.Errorf("%w: %d frames and %d sealed shards", ErrDamaged, s[wCaptured], s[wSealed])
	}
	return nil
}

// A Tally is a number of a run that its summary or its messages need and that only acquire knows.
type Tally int

// The tallies.
const (
	PausedNS     Tally = iota // how long the camera was paused
	ThrottledNS               // how long the budget was throttled or full
	PeakBytes                 // the most bytes in use
	Restarts                  // of members
	Skipped                   // frames that latest groups were not given
	DurableNS                 // host time when the newest durable frame was released
	CaptureEndNS              // host time when the capture ended
	Events                    // events told
	Transitions               // of the budget, told
	tallies      = 12
)

// update changes the state in one step.
func (s *Slab) update(change func(*state)) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	change(&s.state)
	s.publish()
}

// publish brings the state into the file. A slab that is closed has none: who still counts then changes nothing. The
// caller holds stateMu.
func (s *Slab) publish() {
	if s.mem != nil {
		s.number++
		s.state.publish(s.mem, s.number)
	}
}

func (s *Slab) get(w word) uint64 {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.state[w]
}

func (s *Slab) set(w word, v uint64) { s.update(func(st *state) { st[w] = v }) }

// Tally is what SetTally and AddTally have made of a number, in this process and those before it.
func (s *Slab) Tally(t Tally) int64 { return int64(s.get(wTally + word(t))) }

// SetTally records a number.
func (s *Slab) SetTally(t Tally, v int64) { s.set(wTally+word(t), uint64(v)) }

// AddTally adds to a number and returns the sum.
func (s *Slab) AddTally(t Tally, v int64) (sum int64) {
	s.update(func(st *state) {
		st[wTally+word(t)] += uint64(v)
		sum = int64(st[wTally+word(t)])
	})
	return sum
}

// Captured is how many frames the run has, lost ones included.
func (s *Slab) Captured() uint64 { return s.get(wCaptured) }

// NextEpoch gives out a shard epoch, larger than every one before it in this run.
func (s *Slab) NextEpoch() (epoch uint64) {
	s.update(func(st *state) { st[wEpoch]++; epoch = st[wEpoch] })
	return epoch
}

// Epoch is the newest shard epoch that was given out.
func (s *Slab) Epoch() uint64 { return s.get(wEpoch) }

// Account counts n more frames as durable, or as lost for a reason that is in a ledger. The counts are for people: a
// kill between a release and its count leaves them one short.
func (s *Slab) Account(outcome frames.State, n uint64) {
	if outcome < stateCount {
		s.update(func(st *state) { st[wOutcome+word(outcome)] += n })
	}
}

// Accounted is the sum of what Account was told of a state, in this process and those before it.
func (s *Slab) Accounted(outcome frames.State) uint64 {
	if outcome >= stateCount {
		return 0
	}
	return s.get(wOutcome + word(outcome))
}

// AddReleased counts n more frames that a group, by its bit, is done with; groups beyond the eighth are not counted.
func (s *Slab) AddReleased(group int, n uint64) {
	if group < groupCount {
		s.update(func(st *state) { st[wReleased+word(group)] += n })
	}
}

// Released is the sum of what AddReleased was told of a group.
func (s *Slab) Released(group int) uint64 {
	if group >= groupCount {
		return 0
	}
	return s.get(wReleased + word(group))
}

// Sealed is the number of the first shard that is not known to be sealed; SetSealed advances it.
func (s *Slab) Sealed() uint64 { return s.get(wSealed) }

// SetSealed records that every shard below n is sealed.
func (s *Slab) SetSealed(n uint64) { s.update(func(st *state) { st[wSealed] = max(st[wSealed], n) }) }

// Session counts the acquire processes that have held the slab, this one included.
func (s *Slab) Session() uint64 { return s.get(wSession) }

// Phase is how far the run has come.
func (s *Slab) Phase() Phase { return Phase(s.get(wPhase)) }

// SetPhase records how far the run has come.
func (s *Slab) SetPhase(p Phase) { s.set(wPhase, uint64(p)) }

// EndedBy is what ended the capture, one of run's words: empty while it goes on.
func (s *Slab) EndedBy() string { return endings()[s.get(wEnded)] }

// End records in one step that the capture has ended, and by what: one of run's words. The run drains from here on.
func (s *Slab) End(by string) error {
	for i, e := range endings() {
		if e == by && i > 0 {
			s.update(func(st *state) {
				st[wEnded] = uint64(i)
				if p := Phase(st[wPhase]); p == Capturing || p == Armed {
					st[wPhase] = uint64(Draining)
					st[wTally+word(CaptureEndNS)] = uint64(s.clock().Now())
				}
			})
			return nil
		}
	}
	return fmt.Errorf("a run cannot end by %q", by)
}

// Last describes the newest frame: host times of the run's first and newest frame, the newest one's frame id
// and device time.
func (s *Slab) Last() (firstNS, lastNS int64, frameID uint64, deviceNS int64) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return int64(s.state[wFirstNS]), int64(s.state[wLastNS]), s.state[wFrameID], int64(s.state[wDeviceNS])
}
