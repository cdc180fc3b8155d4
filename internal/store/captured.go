package store

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// capturedStart begins the names of the files in which writers keep how many frames they know of.
const capturedStart = "captured."

// capturedMark keeps how many frames are known to have been captured: a journal that goes may have been the only one to
// know.
type capturedMark struct {
	replacement
	n uint64 // frames
}

// capturedMark is what the shard has to keep before its journal goes, nil where the shard itself or what was kept before
// says as much. The caller owns the shard under its epoch.
func (s *Shard) capturedMark() *capturedMark {
	st := s.store
	n := st.captured.Load()
	st.kept.Lock()
	defer st.kept.Unlock()
	if n <= max(s.first+uint64(len(s.state)), st.kept.durable) {
		return nil
	}
	temp, path := st.at.work(workName(s.no, s.epoch, "captured")), st.at.work(capturedStart+st.opts.Writer)
	return &capturedMark{replacement{temp, path, appendCaptured(nil, n)}, n}
}

// name gives the prepared mark its name, unless another shard has named one that says more. It is durable when the work
// folder is synced.
func (m *capturedMark) name(st *Store) error {
	if m == nil {
		return nil
	}
	st.kept.Lock()
	defer st.kept.Unlock()
	if m.n <= st.kept.named {
		return st.fs.Remove(m.temp)
	}
	if err := st.fs.Rename(m.temp, m.path); err != nil {
		return err
	}
	st.kept.named = m.n
	return nil
}

// settle notes that the mark is durable.
func (m *capturedMark) settle(st *Store) {
	if m == nil {
		return
	}
	st.kept.Lock()
	defer st.kept.Unlock()
	st.kept.durable = max(st.kept.durable, m.n)
}

// readCaptured reads what a capturedMark keeps: 0 from any other file, and from a torn one.
func readCaptured(fs vfs.FS, at layout, name string) (uint64, error) {
	if !strings.HasPrefix(name, capturedStart) {
		return 0, nil
	}
	b, err := readFile(fs, at.work(name), journalUnit)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return 0, ignoreNotExist(err)
	}
	if len(b) != journalUnit || !intact(b) || b[0] != recordCaptured {
		return 0, nil
	}
	return binary.LittleEndian.Uint64(b[8:]), nil
}
