package store

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// maxLedger bounds what is read of one ledger, in bytes.
const maxLedger = 1 << 30

// ledger is one writer's file of lost ranges.
type ledger struct {
	log    *logFile
	flight *flight
}

// newLedger makes a ledger, which may write lines twice: try does what is asked of it once more where that helps.
func newLedger(try func(func() error) error, log *logFile) *ledger {
	return &ledger{log: log, flight: newFlight(func(lines []byte) error {
		return try(func() error {
			if err := log.append(lines); err != nil {
				return err
			}
			return log.sync()
		})
	})}
}

// add writes the losses, neighbours as one range; they are durable when it returns. It may be called
// concurrently.
func (l *ledger) add(losses []frames.Loss) error {
	if len(losses) == 0 {
		return nil
	}
	lines, err := appendLedger(nil, join(losses)...)
	if err != nil {
		return err
	}
	return l.flight.join(lines, nil).wait()
}

// join sorts losses and makes one range of those that follow each other.
func join(losses []frames.Loss) []frames.Loss {
	sorted := slices.SortedFunc(slices.Values(losses), func(a, b frames.Loss) int { return cmp.Compare(a.Seq, b.Seq) })
	var out []frames.Loss
	for _, l := range sorted {
		if n := len(out); n > 0 && l.Follows(out[n-1]) {
			out[n-1] = l.Join(out[n-1])
			continue
		}
		out = append(out, l)
	}
	return out
}

// readLedgers reads every writer's ledger. torn counts lines that are no entry.
func readLedgers(fs vfs.FS, l layout) (losses []frames.Loss, torn int, err error) {
	entries, err := fs.ReadDir(l.join(ledgerDir))
	switch {
	case vfs.IsNotExist(err): // some copies keep no empty folders
	case err != nil:
		return nil, 0, fmt.Errorf("reading the ledgers: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".jsonl") {
			continue
		}
		b, err := readFile(fs, filepath.Join(l.join(ledgerDir), e.Name()), maxLedger)
		if err != nil {
			return nil, 0, fmt.Errorf("reading the ledger %s: %w", e.Name(), err)
		}
		ls, n := parseLedger(b)
		losses, torn = append(losses, ls...), torn+n
	}
	return losses, torn, nil
}

// clip returns the part of l within [first, end), and whether there is one.
func clip(l frames.Loss, first, end uint64) (frames.Loss, bool) {
	if l.End() <= first || l.Seq >= end {
		return l, false
	}
	if l.Seq < first {
		_, l = l.Split(first)
	}
	if l.End() > end {
		l, _ = l.Split(end)
	}
	return l, true
}
