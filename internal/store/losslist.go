package store

import (
	"cmp"
	"slices"
	"sort"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// lossList answers which losses concern a shard, however long their ranges are.
type lossList struct {
	sorted []frames.Loss // by their first frame
	ends   []uint64      // the highest end of a loss and all before it
}

func newLossList(losses []frames.Loss) lossList {
	l := lossList{sorted: slices.SortedStableFunc(slices.Values(losses), func(a, b frames.Loss) int { return cmp.Compare(a.Seq, b.Seq) })}
	end := uint64(0)
	for _, x := range l.sorted {
		end = max(end, x.End())
		l.ends = append(l.ends, end)
	}
	return l
}

// end is the highest frame that is named, plus one.
func (l lossList) end() uint64 {
	if len(l.ends) == 0 {
		return 0
	}
	return l.ends[len(l.ends)-1]
}

// within returns the parts of the losses in [first, end).
func (l lossList) within(first, end uint64) []frames.Loss {
	var parts []frames.Loss
	from := sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > first })
	for _, x := range l.sorted[from:] {
		if x.Seq >= end {
			break
		}
		if part, ok := clip(x, first, end); ok {
			parts = append(parts, part)
		}
	}
	return parts
}
