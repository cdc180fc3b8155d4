package store

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Format is the version of the store's format that this package writes and reads.
const Format = 1

// Names in the store's folder. docs/format.md describes them.
const (
	imageName  = "0"
	columnsDir = "frames"
	ledgerDir  = "ledger"
	eventsName = "events.jsonl"
	workDir    = ".sluice"
	lockName   = "lock" // held for a moment by who changes the arrays' lengths
	liveName   = "live" // held by everybody who has the store open for writing, by recover alone
	metaName   = "zarr.json"
	specName   = "spec" // what zarr.json was when the store was made, for recover where that is damaged
)

// layout makes the paths of one store.
type layout struct {
	root     string
	channels int
}

func (l layout) join(elem ...string) string {
	return filepath.Join(append([]string{l.root}, elem...)...)
}

// within is a path relative to the store.
func (l layout) within(path string) string {
	if rel, err := filepath.Rel(l.root, path); err == nil {
		return rel
	}
	return path
}

func (l layout) lock() string                 { return l.join(workDir, lockName) }
func (l layout) work(name string) string      { return l.join(workDir, name) }
func (l layout) column(c string) string       { return l.join(columnsDir, c) }
func (l layout) columnChunks(c string) string { return l.join(columnsDir, c, "c") }

func (l layout) columnChunk(c string, shard uint64) string {
	return l.join(columnsDir, c, "c", strconv.FormatUint(shard, 10))
}

// shardFolders are the folders between the image array and a shard's file, outermost first.
func (l layout) shardFolders(shard uint64) []string {
	dirs := []string{l.join(imageName, "c"), l.join(imageName, "c", strconv.FormatUint(shard, 10))}
	dirs = append(dirs, filepath.Join(dirs[1], "0"))
	if l.channels > 1 {
		dirs = append(dirs, filepath.Join(dirs[2], "0"))
	}
	return dirs
}

func (l layout) shardFile(shard uint64) string {
	dirs := l.shardFolders(shard)
	return filepath.Join(dirs[len(dirs)-1], "0")
}

// The kinds of files that an open shard has in the work folder, as the ends of their names.
const (
	dataKind    = "data"
	journalKind = "journal"
	fencedEnd   = ".fenced"
	lostKind    = "lost"
)

// workName is the name of an open shard's file in the work folder: shard, epoch and kind.
func workName(shard, epoch uint64, kind string) string {
	return fmt.Sprintf("%d.%d.%s", shard, epoch, kind)
}

// workFile is what a name in the work folder says.
type workFile struct {
	name         string
	shard, epoch uint64
	kind         string // without fencedEnd
	fenced       bool
}

// parseWorkName is the inverse of workName; ok is false for files that belong to no shard.
func parseWorkName(name string) (w workFile, ok bool) {
	w.name = name
	rest, fenced := strings.CutSuffix(name, fencedEnd)
	w.fenced = fenced
	parts := strings.SplitN(rest, ".", 3)
	if len(parts) != 3 {
		return w, false
	}
	var err error
	if w.shard, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return w, false
	}
	if w.epoch, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return w, false
	}
	w.kind = parts[2]
	return w, w.kind != ""
}
