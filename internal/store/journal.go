package store

import (
	"encoding/binary"
	"fmt"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// A journal is a header and records, all of journalUnit bytes with a crc32c at their end. The file is filled
// with zeros beforehand, which are no record, so that a commit changes no size. It ends at the first unit that
// is not a record: a commit is acknowledged only after all before it are synced, so what follows a torn one was
// promised to nobody.
const (
	journalUnit  = 64
	journalMagic = 0x314e524a45434c53 // "SLCEJRN1" read as a little-endian word

	recordFrame    = 1
	recordCaptured = 2
)

// journalHeader says whose frames follow.
type journalHeader struct {
	Run         frames.RunID
	Shard       uint64
	Epoch       uint64
	ShardFrames uint64
	FrameBytes  uint64
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

// journal is what a journal file holds.
type journal struct {
	journalHeader
	Records []record
	// Captured is the highest number of captured frames that a commit told.
	Captured uint64
	// end is where the next record goes, in bytes.
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

// decodeJournal reads a journal up to its end or to a torn record. The error wraps ErrCorrupt where not even
// the header holds: nothing was ever promised by such a file. Records of frames outside of the shard are left
// out. A frame may have several records: any whose chunk is whole counts.
func decodeJournal(b []byte) (journal, error) {
	var j journal
	if len(b) < journalUnit || !intact(b[:journalUnit]) || binary.LittleEndian.Uint64(b) != journalMagic {
		return j, fmt.Errorf("%w: a journal without a header", ErrCorrupt)
	}
	copy(j.Run[:], b[8:])
	j.Shard, j.Epoch = binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[32:])
	j.ShardFrames, j.FrameBytes = binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])
	if j.ShardFrames < 1 || j.ShardFrames > maxShardFrames || j.Shard > (1<<63)/j.ShardFrames {
		return j, fmt.Errorf("%w: a journal of shard %d with %d frames", ErrCorrupt, j.Shard, j.ShardFrames)
	}
	first := j.Shard * j.ShardFrames
	for j.end = journalUnit; ; j.end += journalUnit {
		if b = b[journalUnit:]; len(b) < journalUnit || !intact(b[:journalUnit]) {
			return j, nil
		}
		switch b[0] {
		case recordFrame:
			r := decodeRecord(b)
			if r.Seq >= first && r.Seq-first < j.ShardFrames {
				j.Records = append(j.Records, r)
			}
		case recordCaptured:
			j.Captured = max(j.Captured, binary.LittleEndian.Uint64(b[8:]))
		default:
			return j, nil
		}
	}
}

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
