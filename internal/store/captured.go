package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// capturedStart begins the names of the files in which writers keep how many frames they know of.
const capturedStart = "captured."

// keepCaptured makes durable how many frames are known to have been captured, where that is more than the shards that
// were sealed say: a journal that goes may have been the only one to know.
// The caller owns the shard under its epoch.
func (s *Shard) keepCaptured() error {
	st := s.store
	st.kept.Lock()
	defer st.kept.Unlock()
	n := st.captured.Load()
	if n <= max(s.first+uint64(len(s.state)), st.kept.captured) {
		return nil
	}
	temp, path := st.at.work(workName(s.no, s.epoch, "captured")), st.at.work(capturedStart+st.opts.Writer)
	if err := replace(st.fs, temp, path, appendCaptured(nil, n)); err != nil {
		return fmt.Errorf("keeping the number of captured frames: %w", err)
	}
	st.kept.captured = n
	return nil
}

// readCaptured reads what keepCaptured has kept: 0 from any other file, and from a torn one.
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
