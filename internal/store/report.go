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
	// Bad names each frame that is corrupt, missing or recoverable, as ranges.
	Bad []BadRange `json:"bad"`
	// Problems are what is wrong with the store and not with one frame.
	Problems []string `json:"problems"`
}

// BadRange is a range of frames with the same finding.
type BadRange struct {
	Seq   uint64 `json:"seq"`
	Count uint64 `json:"count"`
	What  string `json:"what"`
}

// findings collects a Report from many goroutines.
type findings struct {
	mu     sync.Mutex
	report Report // guarded by mu
}

func (f *findings) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Problems = append(f.report.Problems, fmt.Sprintf(format, args...))
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

func (s *shardFindings) add(seq uint64, v verdict, what string) {
	s.count[v]++
	switch v {
	case written:
		return
	case lost:
		if s.lostBy == nil {
			s.lostBy = map[string]uint64{}
		}
		s.lostBy[what]++
		return
	}
	if n := len(s.bad); n > 0 && s.bad[n-1].What == what && s.bad[n-1].Seq+s.bad[n-1].Count == seq {
		s.bad[n-1].Count++
		return
	}
	s.bad = append(s.bad, BadRange{seq, 1, what})
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
}

// finish orders the report and gives the verdict.
func (f *findings) finish() Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.report
	slices.SortFunc(r.Bad, func(a, b BadRange) int { return cmp.Compare(a.Seq, b.Seq) })
	joined := r.Bad[:0]
	for _, b := range r.Bad {
		if n := len(joined); n > 0 && joined[n-1].What == b.What && joined[n-1].Seq+joined[n-1].Count == b.Seq {
			joined[n-1].Count += b.Count
			continue
		}
		joined = append(joined, b)
	}
	r.Bad = joined
	slices.Sort(r.Problems)
	r.OK = r.Finished && r.Written+r.Lost == r.Captured && len(r.Bad) == 0 && len(r.Problems) == 0
	return r
}
