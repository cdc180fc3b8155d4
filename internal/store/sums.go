package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// sumsName is the file that has the checksums of a finished store's other small files: those that have none of their
// own within.
const sumsName = "checksums"

// maxSums bounds what is read of it, in bytes.
const maxSums = 16 << 20

// fileSum is what a file, or its first size bytes where it may still grow, must be. The path is relative to the store.
type fileSum struct {
	path string
	size int64
	crc  uint32
}

// lines reports whether the file is one of lines, which may be appended to after the store is finished.
func (f fileSum) lines() bool { return strings.HasSuffix(f.path, ".jsonl") }

func (f fileSum) append(b []byte) []byte {
	return fmt.Appendf(b, "%08x %d %s\n", f.crc, f.size, f.path)
}

// writeSums writes the checksums of the store's metadata, ledgers, events and results. root is the group's zarr.json as
// it will be. The caller holds the store's lock.
func (s *Store) writeSums(root []byte, captured uint64) error {
	sums := []fileSum{{metaName, int64(len(root)), castagnoli(root)}}
	for _, n := range arrayNodes(s.at, s.spec, captured) {
		b, err := encodeMeta(n.meta)
		if err != nil {
			return err
		}
		sums = append(sums, fileSum{s.at.within(filepath.Join(n.dir, metaName)), int64(len(b)), castagnoli(b)})
	}
	paths := []string{eventsName}
	for _, dir := range []string{ledgerDir, resultsDir} {
		entries, err := s.fs.ReadDir(s.at.join(dir))
		if ignoreNotExist(err) != nil {
			return err
		}
		for _, e := range entries {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
		if len(entries) > 0 {
			if err := s.fs.SyncDir(s.at.join(dir)); err != nil {
				return err
			}
		}
	}
	for _, path := range paths {
		if sum := (fileSum{path: path}); sum.lines() && !strings.Contains(path, "\n") {
			switch err := sum.measure(s.fs, s.at); {
			case vfs.IsNotExist(err):
			case err != nil:
				return err
			default:
				sums = append(sums, sum)
			}
		}
	}
	b := encodeSums(sums)
	if err := replace(s.fs, s.at.work(sumsName), s.at.join(sumsName), b); err != nil {
		return fmt.Errorf("writing the checksums: %w", err)
	}
	return nil
}

// measure makes a file durable and notes its size and checksum. Of a file that another has written, and could not sync,
// it is what the disk has that counts.
func (f *fileSum) measure(fs vfs.FS, at layout) error {
	file, err := fs.OpenFile(at.join(f.path), vfs.Direct)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return err
	}
	size, err := file.Size()
	if err != nil {
		return err
	}
	f.crc, f.size, err = crcUntil(file, size)
	return err
}

// crcUntil makes the checksum of a file's first limit bytes, or of all where it has less, and returns how many.
func crcUntil(f vfs.File, limit int64) (crc uint32, n int64, err error) {
	buf := vfs.Alloc(int(min(1<<18, vfs.Pad(limit))))
	for n < limit {
		got, err := f.ReadAt(buf, n)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		part := min(int64(got), limit-n)
		crc, n = crc32c.Update(crc, buf[:part]), n+part
		if got < len(buf) {
			break
		}
	}
	return crc, n, nil
}

// encodeSums makes the file of the checksums; the last line is that of the lines before it.
func encodeSums(sums []fileSum) []byte {
	var b []byte
	for _, s := range sums {
		b = s.append(b)
	}
	return fileSum{sumsName, int64(len(b)), castagnoli(b)}.append(b)
}

// readSums reads what writeSums has written. The error wraps ErrCorrupt where it is not that.
func readSums(fs vfs.FS, at layout) ([]fileSum, error) {
	b, err := readFile(fs, at.join(sumsName), maxSums)
	if err != nil {
		return nil, err
	}
	sums := []fileSum{}
	for line := range strings.Lines(string(b)) {
		crc, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		size, path, _ := strings.Cut(rest, " ")
		s := fileSum{path: path}
		// What does not parse is found by the comparison below.
		if v, err := strconv.ParseUint(crc, 16, 32); err == nil {
			s.crc = uint32(v)
		}
		s.size, _ = strconv.ParseInt(size, 10, 64)
		sums = append(sums, s)
	}
	if n := len(sums) - 1; n < 1 || !bytes.Equal(encodeSums(sums[:n]), b) {
		return nil, fmt.Errorf("%w: it is not what was written", ErrCorrupt)
	}
	return sums[:len(sums)-1], nil
}

// check compares a file with its checksum and returns what is wrong with it, nothing where it is sound.
func (f fileSum) check(fs vfs.FS, at layout) (wrong string, err error) {
	if !filepath.IsLocal(f.path) {
		return "the path of a checksum leads out of the store", nil
	}
	file, err := fs.OpenFile(at.join(f.path), vfs.Direct)
	if vfs.IsNotExist(err) {
		return f.path + " is not there", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return "", err
	}
	crc, n, err := crcUntil(file, min(f.size, size))
	switch {
	case err != nil:
		return "", err
	case n < f.size || size > f.size && !f.lines():
		return fmt.Sprintf("%s has %d bytes, want %d", f.path, size, f.size), nil
	case crc != f.crc:
		return fmt.Sprintf("%s is not what was written: crc32c %08x, want %08x", f.path, crc, f.crc), nil
	}
	return "", nil
}
