// Package speed remembers what disks have taken, so that who arms a run can say beforehand whether the disk keeps up. What
// it remembers is a help and nothing else: where it can't be read, is old or makes no sense, nothing is known.
package speed

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// oldest is how long a figure counts: disks fill, age and are replaced.
	oldest = 90 * 24 * time.Hour
	// most bounds the figures that are kept, maxBytes the file that is read.
	most     = 64
	maxBytes = 1 << 20
)

// What figures come from.
const (
	FromBench = "bench" // sluice bench
	FromRun   = "run"   // a run that the disk held up
)

// Figure is what a disk has taken.
type Figure struct {
	Host string `json:"host"`
	// Disk names the file system, as the kernel does.
	Disk       string `json:"disk"`
	Codec      string `json:"codec"` // with its level: "none", "zstd:1"
	FrameBytes int    `json:"frame_bytes"`
	// BytesPerSecond is of raw pixels, whatever a codec leaves of them.
	BytesPerSecond float64   `json:"bytes_per_second"`
	From           string    `json:"from"`
	Time           time.Time `json:"time"`
}

// FramesPerSecond is the figure in frames of another size.
func (f Figure) FramesPerSecond(frameBytes int) float64 {
	return f.BytesPerSecond / float64(frameBytes)
}

// Book is a file of figures. Its methods may be called concurrently, and by several processes: where two write at the same
// time, one of the figures may be lost.
type Book struct{ path, host string }

// book is the file's content.
type book struct {
	V       int      `json:"v"` // 1
	Figures []Figure `json:"figures"`
}

// Path is the user's file, below $XDG_CACHE_HOME or $HOME/.cache; empty where neither is known.
func Path(getenv func(string) string) string {
	if dir := getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sluice", "speed.json")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "sluice", "speed.json")
	}
	return ""
}

// Open returns the book at path, which need not be there; of an empty path, as of a nil Book, nothing is known and nothing
// kept. host is this machine's name: homes may be shared.
func Open(path, host string) *Book { return &Book{path: path, host: host} }

// Codec is a codec with its level, as figures have it.
func Codec(codec string, level int) string {
	if level > 0 {
		return fmt.Sprintf("%s:%d", codec, level)
	}
	return codec
}

// Find returns what the disk that dir lies on has taken, in frames whose size is the nearest to frameBytes; false where
// nothing is known.
func (b *Book) Find(dir, codec string, frameBytes int) (found Figure, ok bool) {
	if b == nil || b.path == "" || frameBytes < 1 {
		return Figure{}, false
	}
	disk, err := diskOf(dir)
	if err != nil {
		return Figure{}, false
	}
	distance := func(f Figure) float64 { return math.Abs(math.Log(float64(f.FrameBytes) / float64(frameBytes))) }
	now := time.Now()
	for _, f := range b.read() {
		if f.Host == b.host && f.Disk == disk && f.Codec == codec && f.good(now) && (!ok || distance(f) < distance(found)) {
			found, ok = f, true
		}
	}
	return found, ok
}

// Note keeps what the disk that dir lies on has taken, in the place of what was known before of such frames.
func (b *Book) Note(dir, codec string, frameBytes int, bytesPerSecond float64, from string) error {
	if b == nil || b.path == "" {
		return nil
	}
	disk, err := diskOf(dir)
	if err != nil {
		return fmt.Errorf("noting the speed of %s: %w", dir, err)
	}
	f := Figure{
		Host: b.host, Disk: disk, Codec: codec, FrameBytes: frameBytes, BytesPerSecond: bytesPerSecond, From: from, Time: time.Now().UTC().Truncate(time.Second),
	}
	now := f.Time
	if !f.good(now) {
		return fmt.Errorf("noting the speed of %s: %g bytes/s in frames of %d bytes make no sense", dir, bytesPerSecond, frameBytes)
	}
	list := slices.DeleteFunc(b.read(), func(o Figure) bool {
		return !o.good(now) || o.Host == f.Host && o.Disk == f.Disk && o.Codec == f.Codec && o.FrameBytes == f.FrameBytes
	})
	slices.SortFunc(list, func(a, b Figure) int { return b.Time.Compare(a.Time) })
	list = append([]Figure{f}, list[:min(len(list), most-1)]...)
	if err := b.write(list); err != nil {
		return fmt.Errorf("noting the speed of %s: %w", dir, err)
	}
	return nil
}

// good reports whether a figure may be believed.
func (f Figure) good(now time.Time) bool {
	age := now.Sub(f.Time)
	return f.BytesPerSecond > 0 && !math.IsInf(f.BytesPerSecond, 0) && f.FrameBytes > 0 && age < oldest && age > -time.Hour &&
		(f.From == FromBench || f.From == FromRun)
}

// read returns the figures of the file; none where it can't be read or is not one of this version.
func (b *Book) read() []Figure {
	info, err := os.Stat(b.path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxBytes {
		return nil
	}
	text, err := os.ReadFile(b.path)
	var all book
	if err != nil || json.Unmarshal(text, &all) != nil || all.V != 1 {
		return nil
	}
	return all.Figures
}

// write replaces the file.
func (b *Book) write(list []Figure) error {
	text, err := json.MarshalIndent(book{1, list}, "", " ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(b.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".speed-")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), b.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// diskOf names the file system that a folder lies on: by its own id where it has one, else by its device.
func diskOf(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if id := fs.Fsid.Val; id != [2]int32{} {
		return fmt.Sprintf("%x:%08x%08x", fs.Type, uint32(id[0]), uint32(id[1])), nil
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return fmt.Sprintf("%x:dev-%x", fs.Type, st.Dev), nil
}
