package store

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// verifyBlock is how much is read at a time, in bytes.
const verifyBlock = 1 << 20

// buffer is for the reading of chunks.
func (v *verifier) buffer() []byte {
	return make([]byte, min(verifyBlock, vfs.Pad(int64(v.attrs.Geometry.FrameBytes()))+vfs.Block))
}

// open opens a sealed shard's file. Where there is none, or its index does not hold, broken says so, and every
// span is empty.
func (v *verifier) open(no uint64, states []frames.State) (f vfs.File, spans []span, broken string, err error) {
	none := slices.Repeat([]span{{noChunk, noChunk}}, len(states))
	f, err = v.fs.OpenFile(v.at.shardFile(no), 0)
	if vfs.IsNotExist(err) {
		return nil, none, "the shard's file is not there", nil
	}
	if err != nil {
		return nil, nil, "", err
	}
	spans, err = readIndex(f, uint64(len(states)))
	if errors.Is(err, ErrCorrupt) {
		v.found.problem("shard %d: %v", no, err)
		return f, none, "the shard's index does not hold", nil
	}
	if err != nil {
		return nil, nil, "", errors.Join(err, f.Close())
	}
	return f, spans, "", nil
}

// chunk compares a chunk with its checksum.
func (v *verifier) chunk(f vfs.File, sp span, want uint32, buf []byte) (verdict, string, error) {
	if sp.empty() {
		return missing, "durable by its state, without a chunk in the shard", nil
	}
	if size := v.attrs.Geometry.FrameBytes(); v.attrs.Codec == codecNone && sp.size != uint64(size) {
		return corrupt, fmt.Sprintf("a chunk of %d bytes, want %d", sp.size, size), nil
	}
	got, err := chunkCRC(f, sp, buf)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return corrupt, "the shard's file ends within the chunk", nil
	case err != nil:
		return corrupt, "", err
	case got != want:
		return corrupt, "the chunk's crc32c is wrong", nil
	}
	return written, "", nil
}

// chunkCRC reads a chunk and makes its checksum. buf is of whole blocks, at least one, and aligned where f is direct.
func chunkCRC(f vfs.File, sp span, buf []byte) (uint32, error) {
	table, crc := crc32.MakeTable(crc32.Castagnoli), uint32(0)
	for off, left := int64(sp.offset), int64(sp.size); left > 0; {
		// Whole blocks, as a file that is open for direct access wants them.
		skip := off % vfs.Block
		n, err := f.ReadAt(buf[:min(int64(len(buf)), vfs.Pad(skip+left))], off-skip)
		if int64(n) <= skip {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		got := buf[skip:min(int64(n), skip+left)]
		crc = crc32.Update(crc, table, got)
		off, left = off+int64(len(got)), left-int64(len(got))
	}
	return crc, nil
}

// openShard looks at a shard that was never sealed: what its journals know and whose chunk is whole could be
// recovered.
func (v *verifier) openShard(ctx context.Context, no uint64) (shardFindings, error) {
	k := v.attrs.ShardFrames
	whole := make([]bool, k)
	buf := v.buffer()
	for _, w := range v.journals[no] {
		j, err := readJournal(v.fs, v.at.work(w.name), 0)
		if errors.Is(err, ErrCorrupt) || vfs.IsNotExist(err) {
			continue
		}
		if err != nil {
			return shardFindings{}, err
		}
		if err := v.journaled(ctx, w, j, whole, buf); err != nil {
			return shardFindings{}, err
		}
	}
	ledgered := v.ledgered(no)
	var found shardFindings
	for i := range whole {
		seq := no*k + uint64(i)
		if seq >= v.captured {
			break
		}
		switch {
		case whole[i]:
			found.add(seq, recoverable, "durable in a shard that is not sealed")
		case len(ledgered[i]) > 0:
			found.add(seq, lost, ledgered[i][0].String())
		default:
			found.add(seq, missing, "neither durable nor in a ledger")
		}
		v.tell()
	}
	return found, nil
}

// journaled marks the frames of one journal whose chunk is whole, in the file in the work folder or, where that
// was published, in the shard's own.
func (v *verifier) journaled(ctx context.Context, w workFile, j journal, whole []bool, buf []byte) error {
	if j.Shard != w.shard || j.Run != v.attrs.Run || j.ShardFrames != v.attrs.ShardFrames {
		return nil
	}
	data := workName(w.shard, w.epoch, dataKind)
	for _, path := range []string{v.at.work(data), v.at.work(data + fencedEnd), v.at.shardFile(w.shard)} {
		if err := v.markWhole(ctx, path, j, whole, buf); err != nil {
			return err
		}
	}
	return nil
}

// markWhole marks the frames of one journal whose chunk is whole in one file, which may not be there.
func (v *verifier) markWhole(ctx context.Context, path string, j journal, whole []bool, buf []byte) error {
	f, err := v.fs.OpenFile(path, 0)
	if vfs.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for _, r := range j.Records {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.Offset > 1<<62 || r.Size > 1<<32 {
			continue
		}
		crc, err := chunkCRC(f, span{r.Offset, r.Size}, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err == nil && crc == r.CRC {
			whole[r.Seq-j.Shard*j.ShardFrames] = true
		}
	}
	return nil
}
