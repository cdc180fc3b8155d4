package analysis

// seenFrames is how many of the frames that it was given a member remembers.
const seenFrames = 1 << 16

// seen remembers which frames a member has finished, and which it has in work, so that those that acquire
// offers again are not counted twice. It is not safe for concurrent use.
type seen struct {
	inWork map[uint64]struct{}
	done   []uint64 // seq+1 at seq modulo seenFrames
}

func newSeen() *seen {
	return &seen{inWork: map[uint64]struct{}{}, done: make([]uint64, seenFrames)}
}

func (s *seen) isInWork(seq uint64) bool {
	_, ok := s.inWork[seq]
	return ok
}

func (s *seen) isDone(seq uint64) bool { return s.done[seq%seenFrames] == seq+1 }

func (s *seen) begin(seq uint64) { s.inWork[seq] = struct{}{} }

// abandon takes back begin: the frame may be offered again.
func (s *seen) abandon(seq uint64) { delete(s.inWork, seq) }

func (s *seen) finish(seq uint64) {
	delete(s.inWork, seq)
	s.done[seq%seenFrames] = seq + 1
}
