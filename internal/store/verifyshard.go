package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// shard looks at every frame of one shard.
func (v *verifier) shard(ctx context.Context, no uint64) (shardFindings, error) {
	k := v.attrs.ShardFrames
	states, err := readStates(v.fs, v.at, no, k)
	if vfs.IsNotExist(err) && !v.attrs.Finished {
		found, err := v.openShard(ctx, no)
		if _, sealed := v.fs.Stat(v.at.columnChunk(colState, no)); err != nil || sealed != nil {
			return found, err
		}
		states, err = readStates(v.fs, v.at, no, k) // it was sealed meanwhile
		if err != nil {
			return found, err
		}
	}
	if err := v.column(colState, no, err); err != nil {
		return shardFindings{}, err
	}
	if states == nil {
		states = make([]frames.State, k)
	}
	crcs, err := v.checkColumns(no)
	if err != nil {
		return shardFindings{}, err
	}
	f, spans, broken, err := v.open(no, states)
	if err != nil {
		return shardFindings{}, err
	}
	if f != nil {
		defer f.Close()
	}
	chunks, err := v.chunks(ctx, f, states, spans, crcs)
	if err != nil {
		return shardFindings{}, err
	}
	ledgered, err := v.ledgered(no, states)
	if err != nil {
		return shardFindings{}, err
	}
	var found shardFindings
	file := v.at.within(v.at.shardFile(no))
	for i, st := range states {
		seq := no*k + uint64(i)
		if seq >= v.captured {
			if v.attrs.Finished && (st != frames.Absent || !spans[i].empty()) {
				v.found.problem("the store has frame %d, captured are %d", seq, v.captured)
			}
			continue
		}
		switch {
		case st == frames.Durable && broken != "":
			found.add(corrupt, BadRange{Seq: seq, What: broken, File: file})
		case st == frames.Durable && spans[i].empty():
			found.add(missing, BadRange{Seq: seq, What: "durable by its state, without a chunk in the shard", File: file})
		case st == frames.Durable && chunks[i].What != "":
			chunks[i].Seq, chunks[i].File = seq, file
			found.add(corrupt, chunks[i])
		case st == frames.Durable:
			found.count[written]++
		case st.Lost() && !spans[i].empty():
			found.add(corrupt, BadRange{Seq: seq, What: "lost by its state, with a chunk in the shard", File: file})
		case st.Lost() && !slices.Contains(ledgered[i], st):
			found.add(missing, BadRange{Seq: seq, What: fmt.Sprintf("%s by its state, not in a ledger", st)})
		case st.Lost():
			found.lose(st)
		case st == frames.Absent:
			found.add(missing, BadRange{Seq: seq, What: "neither durable nor in a ledger"})
		default:
			found.add(corrupt, BadRange{Seq: seq, What: "an unknown state"})
		}
		if st != frames.Durable {
			v.tell()
		}
	}
	return found, nil
}

// open opens a sealed shard's file. Where there is none, or its index does not hold, broken says so, and every
// span is empty.
func (v *verifier) open(no uint64, states []frames.State) (f vfs.File, spans []span, broken string, err error) {
	none := slices.Repeat([]span{{noChunk, noChunk}}, len(states))
	f, err = v.fs.OpenFile(v.at.shardFile(no), vfs.Direct)
	if vfs.IsNotExist(err) {
		return nil, none, "the shard's file is not there", nil
	}
	if err != nil {
		return nil, nil, "", err
	}
	spans, err = readIndex(f, uint64(len(states)))
	if errors.Is(err, ErrCorrupt) {
		v.found.problem("%s: %v", v.at.within(v.at.shardFile(no)), err)
		return f, none, "the shard's index does not hold", nil
	}
	if err != nil {
		return nil, nil, "", errors.Join(err, f.Close())
	}
	return f, spans, "", nil
}

// chunks compares every durable frame's chunk with its checksum, in the order of the file, and returns what is wrong
// with each.
func (v *verifier) chunks(ctx context.Context, f vfs.File, states []frames.State, spans []span, crcs []uint32) ([]BadRange, error) {
	bad := make([]BadRange, len(states))
	order := make([]int, 0, len(states))
	for i, st := range states {
		if st == frames.Durable && !spans[i].empty() {
			order = append(order, i)
		} else if st == frames.Durable {
			v.tell()
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(spans[a].offset, spans[b].offset) })
	w := newWindow(f, v.attrs)
	for _, i := range order {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sp := spans[i]
		b := BadRange{Offset: sp.offset, Bytes: sp.size}
		if size := v.attrs.Geometry.FrameBytes(); v.attrs.Codec == codecNone && sp.size != uint64(size) {
			b.What = fmt.Sprintf("a chunk of %d bytes, want %d", sp.size, size)
			bad[i] = b
		} else {
			got, err := w.crc(sp)
			switch {
			case errors.Is(err, io.ErrUnexpectedEOF):
				b.What = "the shard's file ends within the chunk"
				bad[i] = b
			case err != nil:
				return nil, err
			case got != crcs[i]:
				b.What = "the chunk's crc32c is wrong"
				b.Want, b.Found = fmt.Sprintf("%08x", crcs[i]), fmt.Sprintf("%08x", got)
				bad[i] = b
			}
		}
		v.tell()
	}
	return bad, nil
}

// ledgered lists for each frame of a shard the reasons that ledgers give for its loss. states may be nil; what a store
// that is being written has lost since the survey is looked for again.
func (v *verifier) ledgered(no uint64, states []frames.State) ([][]frames.State, error) {
	k := v.attrs.ShardFrames
	reasons := reasonsOf(v.losses, no*k, k)
	if v.attrs.Finished {
		return reasons, nil
	}
	for i, st := range states {
		if st.Lost() && !slices.Contains(reasons[i], st) {
			losses, _, err := readLedgers(v.fs, v.at)
			return reasonsOf(newLossList(losses), no*k, k), err
		}
	}
	return reasons, nil
}

func reasonsOf(losses lossList, first, k uint64) [][]frames.State {
	reasons := make([][]frames.State, k)
	for _, l := range losses.within(first, first+k) {
		for seq := l.Seq; seq < l.End(); seq++ {
			if i := seq - first; !slices.Contains(reasons[i], l.Reason) {
				reasons[i] = append(reasons[i], l.Reason)
			}
		}
	}
	return reasons
}

// checkColumns looks at a shard's column chunks and returns the frames' checksums.
func (v *verifier) checkColumns(no uint64) ([]uint32, error) {
	k := v.attrs.ShardFrames
	crcs := make([]uint32, k)
	for _, c := range columns() {
		if c.name == colState {
			continue // it was read already
		}
		b, err := readColumn(v.fs, v.at, c, no, k)
		if err := v.column(c.name, no, err); err != nil {
			return nil, err
		}
		for i := range crcs {
			if c.name == colCRC && b != nil {
				crcs[i] = binary.LittleEndian.Uint32(b[4*i:])
			}
		}
	}
	return crcs, nil
}

// column notes what the error of reading a shard's chunk of a column says of it; it returns any other error.
func (v *verifier) column(name string, no uint64, err error) error {
	path := v.at.within(v.at.columnChunk(name, no))
	switch {
	case vfs.IsNotExist(err):
		v.found.problem("%s is not there", path)
	case errors.Is(err, ErrCorrupt):
		v.found.problem("%s: %v", path, err)
	default:
		return err
	}
	return nil
}
