package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// A journal is a header and records, all of journalUnit bytes with a crc32c at their end. The file is filled
// with zeros beforehand, which are no record, so that a commit changes no size.
const (
	journalUnit  = 64
	journalMagic = 0x314e524a45434c53 // "SLCEJRN1" read as a little-endian word

	recordFrame    = 1
	recordCaptured = 2
	recordSynced   = 3
)

// journalHeader says whose frames follow.
type journalHeader struct {
	Run         frames.RunID
	Shard       uint64
	Epoch       uint64
	ShardFrames uint64
	FrameBytes  uint64
}

// journalOf is the header of a shard's journal under one epoch.
func journalOf(s run.Spec, shard, epoch uint64) journalHeader {
	return journalHeader{
		Run: s.Run, Shard: shard, Epoch: epoch, ShardFrames: s.ShardFrames, FrameBytes: uint64(s.Geometry.FrameBytes()),
	}
}

// record is one durable frame: what it is, and where its chunk lies.
type record struct {
	Seq      uint64
	FrameID  uint64
	DeviceNS int64
	HostNS   int64
	Offset   uint64
	Size     uint64
	CRC      uint32 // crc32c of the stored chunk
}

// plausible reports whether the record can be of a chunk of at most limit bytes.
func (r record) plausible(limit uint64) bool {
	return r.Offset <= 1<<62 && r.Size > 0 && r.Size <= limit
}

// journal is what a journal file holds.
type journal struct {
	journalHeader
	Records []record
	// Promised is how many of Records, from the first on, were durable with their chunks: a unit behind them says so. The
	// others are of the last flight: nobody was told that it came to its end, and a crash may have left a record without
	// its chunk.
	Promised int
	// Captured is the highest number of captured frames that a commit told.
	Captured uint64
	// Damaged is how many units do not hold although a later one does, Torn how many at the end: of the commit that a
	// crash cut short.
	Damaged, Torn int
	// end is where the next record goes, in bytes: behind the last that holds.
	end int64
}

func seal(b []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(b, castagnoli(b[from:]))
}

func encodeHeader(h journalHeader) []byte {
	b := binary.LittleEndian.AppendUint64(nil, journalMagic)
	b = append(b, h.Run[:]...)
	for _, v := range []uint64{h.Shard, h.Epoch, h.ShardFrames, h.FrameBytes} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return seal(binary.LittleEndian.AppendUint32(b, 0), 0)
}

func appendRecord(b []byte, r record) []byte {
	from := len(b)
	b = append(b, recordFrame, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, r.CRC)
	for _, v := range []uint64{r.Seq, r.FrameID, uint64(r.DeviceNS), uint64(r.HostNS), r.Offset, r.Size} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return seal(binary.LittleEndian.AppendUint32(b, 0), from)
}

func appendCaptured(b []byte, captured uint64) []byte {
	from := len(b)
	b = append(b, recordCaptured, 0, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, captured)
	b = append(b, make([]byte, journalUnit-16-4)...)
	return seal(b, from)
}

// syncedUnit says that all before it is durable, the chunks too.
func syncedUnit() []byte {
	b := make([]byte, journalUnit-4)
	b[0] = recordSynced
	return seal(b, 0)
}

// decodeJournal reads all units of a journal that hold, those behind a damaged one too: a frame's record counts only
// if its chunk is whole. of is what the file's name and its store say of it: a journal whose header is damaged is read
// as that, and one of something else wraps ErrCorrupt. Records of frames outside of the shard are left out. A frame
// may have several records: any whose chunk is whole counts.
func decodeJournal(b []byte, of journalHeader) (journal, error) {
	j := journal{journalHeader: of, end: journalUnit}
	if len(b) < journalUnit {
		return j, fmt.Errorf("%w: a journal without a header", ErrCorrupt)
	}
	unsure := 0 // units that do not hold since the last that does
	flown := 0  // records of the flights that are whole here: each ends with what it knew of captured frames
	if head := b[:journalUnit]; intact(head) && binary.LittleEndian.Uint64(head) == journalMagic {
		if h := decodeHeader(head); h.Run != of.Run || h.Shard != of.Shard || h.Epoch != of.Epoch || h.ShardFrames != of.ShardFrames {
			return j, fmt.Errorf("%w: a journal of run %s, shard %d, epoch %d", ErrCorrupt, h.Run, h.Shard, h.Epoch)
		}
	} else {
		unsure++
	}
	zeros := make([]byte, journalUnit)
	for off := journalUnit; off+journalUnit <= len(b); off += journalUnit {
		unit := b[off : off+journalUnit]
		switch {
		case bytes.Equal(unit, zeros):
			continue
		case intact(unit) && unit[0] == recordFrame:
			j.Promised = flown
			if r := decodeRecord(unit); r.Seq >= of.first() && r.Seq-of.first() < of.ShardFrames {
				j.Records = append(j.Records, r)
			}
		case intact(unit) && unit[0] == recordCaptured:
			j.Promised, flown = flown, len(j.Records)
			j.Captured = max(j.Captured, binary.LittleEndian.Uint64(unit[8:]))
		case intact(unit) && unit[0] == recordSynced:
			j.Promised = flown
		default:
			unsure++
			continue
		}
		j.end = int64(off + journalUnit)
		j.Damaged, unsure = j.Damaged+unsure, 0
	}
	j.Torn = unsure
	return j, nil
}

func decodeHeader(b []byte) journalHeader {
	return journalHeader{
		Run:   frames.RunID(b[8:24]),
		Shard: binary.LittleEndian.Uint64(b[24:]), Epoch: binary.LittleEndian.Uint64(b[32:]),
		ShardFrames: binary.LittleEndian.Uint64(b[40:]), FrameBytes: binary.LittleEndian.Uint64(b[48:]),
	}
}

// first is the shard's first seq.
func (h journalHeader) first() uint64 { return h.Shard * h.ShardFrames }

func decodeRecord(b []byte) record {
	return record{
		CRC:      binary.LittleEndian.Uint32(b[4:]),
		Seq:      binary.LittleEndian.Uint64(b[8:]),
		FrameID:  binary.LittleEndian.Uint64(b[16:]),
		DeviceNS: int64(binary.LittleEndian.Uint64(b[24:])),
		HostNS:   int64(binary.LittleEndian.Uint64(b[32:])),
		Offset:   binary.LittleEndian.Uint64(b[40:]),
		Size:     binary.LittleEndian.Uint64(b[48:]),
	}
}

// intact reports whether a unit's checksum holds. Zeros are no unit, although nothing is wrong with them.
func intact(unit []byte) bool {
	body := unit[:journalUnit-4]
	return unit[0] != 0 && castagnoli(body) == binary.LittleEndian.Uint32(unit[journalUnit-4:])
}
