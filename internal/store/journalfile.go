package store

import (
	"errors"
	"fmt"
	"io"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// maxJournal bounds what is read of a journal of k frames, in bytes: every record twice over, each in a flight of its own.
func maxJournal(k uint64) int64 { return vfs.Pad(int64(6*k+64) * journalUnit) }

// journalFile is an open shard's journal. Its owner writes to it from one goroutine at a time.
type journalFile struct {
	f   vfs.File
	end int64
}

// createJournal makes a journal with its header, filled with zeros for as many flights as there are frames. Neither they
// nor its name are durable before the first records are.
func createJournal(fs vfs.FS, path string, h journalHeader) (*journalFile, error) {
	f, err := fs.OpenFile(path, vfs.Write|vfs.Create|vfs.Exclusive)
	if err != nil {
		return nil, err
	}
	b := make([]byte, vfs.Pad(int64((3*min(h.ShardFrames, 4*maxDefaultK)+1)*journalUnit)))
	copy(b, encodeHeader(h))
	if _, err := f.WriteAt(b, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journalFile{f: f, end: journalUnit}, nil
}

// append writes records behind the last ones; they are durable when it returns.
func (j *journalFile) append(records []byte) error {
	if _, err := j.f.WriteAt(records, j.end); err != nil {
		return err
	}
	if err := j.f.Datasync(); err != nil {
		return err
	}
	j.end += int64(len(records))
	return nil
}

// confirm notes that what was appended is durable with its chunks. The note itself is not synced: it is for who takes the
// shard over while the host lives. After a crash the chunks' checksums tell.
func (j *journalFile) confirm() error {
	b := syncedUnit()
	if _, err := j.f.WriteAt(b, j.end); err != nil {
		return err
	}
	j.end += int64(len(b))
	return nil
}

// readJournal reads the journal at path, opened with flag, that should be of what is given.
func readJournal(fs vfs.FS, path string, flag vfs.Flag, of journalHeader) (journal, error) {
	b, err := readOpened(fs, path, flag, maxJournal(of.ShardFrames))
	if err != nil {
		return journal{}, err
	}
	j, err := decodeJournal(b, of)
	if err != nil {
		return j, fmt.Errorf("reading %s: %w", path, err)
	}
	return j, nil
}

// readFile reads a whole file of at most limit bytes.
func readFile(fs vfs.FS, path string, limit int64) ([]byte, error) {
	return readOpened(fs, path, 0, limit)
}

func readOpened(fs vfs.FS, path string, flag vfs.Flag, limit int64) ([]byte, error) {
	f, err := fs.OpenFile(path, flag)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("reading %s: %w: %d bytes, at most %d are expected", path, ErrCorrupt, size, limit)
	}
	var b []byte
	if flag&vfs.Direct != 0 {
		b = vfs.Alloc(int(vfs.Pad(size)))
	} else {
		b = make([]byte, size)
	}
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}
