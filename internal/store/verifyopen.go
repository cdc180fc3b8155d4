package store

import (
	"context"
	"errors"
	"io"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// openShard looks at a shard that was never sealed: what its journals know and whose chunk is whole could be
// recovered.
func (v *verifier) openShard(ctx context.Context, no uint64) (shardFindings, error) {
	k := v.attrs.ShardFrames
	whole := make([]bool, k)
	for _, w := range v.journals[no] {
		j, err := readJournal(v.fs, v.at.work(w.name), 0, journalOf(v.attrs.Spec, no, w.epoch))
		if errors.Is(err, ErrCorrupt) || vfs.IsNotExist(err) {
			continue
		}
		if err != nil {
			return shardFindings{}, err
		}
		// In the work folder or, where that was published, the shard's own.
		data := workName(no, w.epoch, dataKind)
		for _, path := range []string{v.at.work(data), v.at.work(data + fencedEnd), v.at.shardFile(no)} {
			if err := v.markWhole(ctx, path, j, whole); err != nil {
				return shardFindings{}, err
			}
		}
	}
	ledgered, err := v.ledgered(no, nil)
	if err != nil {
		return shardFindings{}, err
	}
	var found shardFindings
	for i := range whole {
		seq := no*k + uint64(i)
		if seq >= v.captured {
			break
		}
		switch {
		case whole[i]:
			found.add(recoverable, BadRange{Seq: seq, What: "durable in a shard that is not sealed"})
		case len(ledgered[i]) > 0:
			found.lose(ledgered[i][0])
		default:
			found.add(missing, BadRange{Seq: seq, What: "neither durable nor in a ledger"})
		}
		v.tell()
	}
	return found, nil
}

// markWhole marks the frames of one journal whose chunk is whole in one file, which may not be there.
func (v *verifier) markWhole(ctx context.Context, path string, j journal, whole []bool) error {
	f, err := v.fs.OpenFile(path, vfs.Direct)
	if vfs.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	w := newWindow(f, v.attrs)
	for _, r := range j.Records {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !r.plausible(maxStored(v.attrs.Spec)) {
			continue
		}
		crc, err := w.crc(span{r.Offset, r.Size})
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err == nil && crc == r.CRC {
			whole[r.Seq-j.first()] = true
		}
	}
	return nil
}
