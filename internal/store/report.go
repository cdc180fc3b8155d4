package store

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Report is what Verify found. Every captured frame is in one of Written, Lost, Corrupt, Recoverable and Missing.
type Report struct {
	V     int          `json:"v"` // 1
	OK    bool         `json:"ok"`
	Store string       `json:"store"`
	Run   frames.RunID `json:"run"`
	// Finished is set when the store says that it is complete. One that does not is not OK.
	Finished bool `json:"finished"`
	// InUse is set when a writer or a recovery has the unfinished store open.
	InUse bool `json:"in_use"`
	// ReadableUntil is how many frames the image array offers to readers.
	ReadableUntil uint64 `json:"readable_until"`
	// Captured is the final number, or for an unfinished store the highest that its journals, ledgers and
	// shards know of.
	Captured     uint64            `json:"captured"`
	Written      uint64            `json:"written"` // durable, and every byte as it was written
	Lost         uint64            `json:"lost"`    // named in a ledger
	LostByReason map[string]uint64 `json:"lost_by_reason"`
	Corrupt      uint64            `json:"corrupt"` // durable once, and not what was written
	Missing      uint64            `json:"missing"` // neither durable nor in a ledger
	// Recoverable frames are durable in shards that were never sealed: no reader finds them yet.
	Recoverable uint64 `json:"recoverable"`
	// Bad names each frame that is corrupt, missing or recoverable, as ranges, in the order of seq: at most BadLimit of
	// them. BadLeftOut is how many such frames are in no range.
	Bad        []BadRange `json:"bad"`
	BadLeftOut uint64     `json:"bad_left_out"`
	// Problems are what is wrong with the store and not with one frame, at most BadLimit.
	Problems []string `json:"problems"`
}

// BadLimit is how many ranges and problems a Report names.
const BadLimit = 1000

// BadRange is a range of frames with the same finding. What follows What is there where it is known, of one frame.
type BadRange struct {
	Seq   uint64 `json:"seq"`
	Count uint64 `json:"count"`
	What  string `json:"what"`
	// File is the shard's, relative to the store; the chunk has Bytes at Offset there.
	File   string `json:"file,omitempty"`
	Offset uint64 `json:"offset"`
	Bytes  uint64 `json:"bytes,omitempty"`
	// Want and Found are the crc32c, as hexadecimal digits.
	Want  string `json:"want,omitempty"`
	Found string `json:"found,omitempty"`
}

// continues reports whether b goes on where prev ends, with the same finding.
func (b BadRange) continues(prev BadRange) bool {
	return b.Seq == prev.Seq+prev.Count && b.What == prev.What && b.File == prev.File && b.Bytes == 0 && prev.Bytes == 0
}

// findings collects a Report from many goroutines.
type findings struct {
	mu     sync.Mutex
	report Report // guarded by mu
}

func (f *findings) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.report.Problems) < BadLimit {
		f.report.Problems = append(f.report.Problems, fmt.Sprintf(format, args...))
	}
}

// verdict is what became of one frame.
type verdict int

const (
	written verdict = iota
	lost
	corrupt
	missing
	recoverable
)

// shardFindings collects what was found in one shard.
type shardFindings struct {
	count  [recoverable + 1]uint64
	lostBy map[string]uint64
	bad    []BadRange
}

// add notes one frame that is not as it should be.
func (s *shardFindings) add(v verdict, b BadRange) {
	s.count[v]++
	b.Count = 1
	n := len(s.bad)
	switch {
	case n > 0 && b.continues(s.bad[n-1]):
		s.bad[n-1].Count++
	case n < BadLimit:
		s.bad = append(s.bad, b)
	}
}

// lose notes one frame that a ledger names.
func (s *shardFindings) lose(reason frames.State) {
	s.count[lost]++
	if s.lostBy == nil {
		s.lostBy = map[string]uint64{}
	}
	s.lostBy[reason.String()]++
}

func (f *findings) take(s shardFindings) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.report
	r.Written += s.count[written]
	r.Lost += s.count[lost]
	r.Corrupt += s.count[corrupt]
	r.Missing += s.count[missing]
	r.Recoverable += s.count[recoverable]
	for reason, n := range s.lostBy {
		r.LostByReason[reason] += n
	}
	r.Bad = append(r.Bad, s.bad...)
	slices.SortFunc(r.Bad, func(a, b BadRange) int { return cmp.Compare(a.Seq, b.Seq) })
	joined := r.Bad[:0]
	for _, b := range r.Bad {
		if n := len(joined); n > 0 && b.continues(joined[n-1]) {
			joined[n-1].Count += b.Count
			continue
		}
		joined = append(joined, b)
	}
	r.Bad = joined[:min(len(joined), BadLimit)]
}

// finish orders the report and gives the verdict.
func (f *findings) finish() Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.report
	slices.Sort(r.Problems)
	r.BadLeftOut = r.Corrupt + r.Missing + r.Recoverable
	for _, b := range r.Bad {
		r.BadLeftOut -= b.Count
	}
	r.OK = r.Finished && r.Written+r.Lost == r.Captured && len(r.Bad) == 0 && len(r.Problems) == 0
	return r
}
