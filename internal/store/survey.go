package store

import (
	"errors"
	"strconv"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// survey is what a store says of its run besides the frames: the ledgers, the open shards' journals, and how many
// frames there should be.
type survey struct {
	fs    vfs.FS
	at    layout
	attrs Attributes

	captured uint64
	// states is the number of the last shard that has states, plus one.
	states   uint64
	losses   lossList
	torn     int                   // ledger lines that are no entry
	journals map[uint64][]workFile // by shard
	work     bool                  // the work folder is there
	beyond   uint64                // what a ledger names beyond what a finished store has captured, 0 for nothing
}

func (v *survey) run() error {
	losses, torn, err := readLedgers(v.fs, v.at)
	if err != nil {
		return err
	}
	v.torn = torn
	v.losses = newLossList(losses)
	v.captured = v.losses.end()
	if err := v.surveyWork(); err != nil {
		return err
	}
	if err := v.surveySealed(); err != nil {
		return err
	}
	if v.attrs.Finished && v.attrs.Captured != nil {
		if end := v.losses.end(); end > *v.attrs.Captured {
			v.beyond = end
		}
		v.captured = *v.attrs.Captured
	}
	return nil
}

// surveyWork lists the journals of open shards.
func (v *survey) surveyWork() error {
	v.journals = map[uint64][]workFile{}
	entries, err := v.fs.ReadDir(v.at.join(workDir))
	if vfs.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	v.work = true
	for _, e := range entries {
		n, err := readCaptured(v.fs, v.at, e.Name())
		if err != nil {
			return err
		}
		v.captured = max(v.captured, n)
		w, ok := parseWorkName(e.Name())
		if !ok || w.kind != journalKind || w.shard > (1<<62)/v.attrs.ShardFrames {
			continue
		}
		v.journals[w.shard] = append(v.journals[w.shard], w)
		j, err := readJournal(v.fs, v.at.work(w.name), 0, journalOf(v.attrs.Spec, w.shard, w.epoch))
		if errors.Is(err, ErrCorrupt) || vfs.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		v.captured = max(v.captured, j.Captured)
		for _, r := range j.Records {
			v.captured = max(v.captured, r.Seq+1)
		}
	}
	return nil
}

// surveySealed learns from the sealed shards how many frames there are at least.
func (v *survey) surveySealed() error {
	entries, err := v.fs.ReadDir(v.at.columnChunks(colState))
	if err != nil {
		return ignoreNotExist(err)
	}
	last := uint64(0)
	for _, e := range entries {
		no, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil || no > (1<<62)/v.attrs.ShardFrames {
			continue
		}
		v.states, last = max(v.states, no+1), max(last, no)
	}
	if v.attrs.Finished || v.states == 0 {
		return nil
	}
	states, err := readStates(v.fs, v.at, last, v.attrs.ShardFrames)
	if errors.Is(err, ErrCorrupt) || vfs.IsNotExist(err) {
		v.captured = max(v.captured, last*v.attrs.ShardFrames+v.chunksOf(last))
		return nil
	}
	if err != nil {
		return err
	}
	v.captured = max(v.captured, last*v.attrs.ShardFrames+filled(states))
	return nil
}

// chunksOf is how many frames a shard has up to the last that its index knows, 0 where that can't be read.
func (v *survey) chunksOf(no uint64) uint64 {
	f, err := v.fs.OpenFile(v.at.shardFile(no), 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	spans, err := readIndex(f, v.attrs.ShardFrames)
	if err != nil {
		return 0
	}
	n := len(spans)
	for n > 0 && spans[n-1].empty() {
		n--
	}
	return uint64(n)
}
