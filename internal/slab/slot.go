package slab

import (
	"hash/crc32"
	"sync/atomic"
	"unsafe"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Record is the state of a slot: what a restarted acquire finds of a frame.
type Record struct {
	Seq        uint64
	FrameID    uint64
	DeviceNS   int64
	HostNS     int64
	Generation uint64
	Checksum   uint32 // CRC-32C of the pixels, 0 where it is not known
	// Holders has bit g set while lossless group g has not released the frame.
	Holders uint32
}

// Offer is the record as it is offered to a member.
func (r Record) Offer(slot int, epoch uint64) frames.Offer {
	return frames.Offer{
		Seq: r.Seq, FrameID: r.FrameID, DeviceNS: r.DeviceNS, HostNS: r.HostNS,
		Generation: r.Generation, Epoch: epoch, Slot: uint32(slot), Checksum: r.Checksum,
	}
}

// slotRecord is a Record in the mapped file. The generation is stored last when a frame is complete: on the
// platforms that Go's atomics order, who sees it sees the rest.
type slotRecord struct {
	generation atomic.Uint64
	seq        uint64
	frameID    uint64
	deviceNS   int64
	hostNS     int64
	pixelsCRC  uint32 // CRC-32C of the pixels, 0 where it is not known
	crc        uint32 // of all between the generation and it
	holders    atomic.Uint32
}

func slotAt(mem []byte, l layout, slot int) *slotRecord {
	return (*slotRecord)(unsafe.Pointer(&mem[l.slotsAt+slot*slotSize]))
}

// checksum is over the memory itself: a copy would be an allocation for each frame.
func (s *slotRecord) checksum() uint32 {
	const size = unsafe.Offsetof(s.crc) - unsafe.Offsetof(s.seq)
	return crc32.Checksum(unsafe.Slice((*byte)(unsafe.Pointer(&s.seq)), size), castagnoli)
}

func (s *slotRecord) record() Record {
	return Record{
		Seq: s.seq, FrameID: s.frameID, DeviceNS: s.deviceNS, HostNS: s.hostNS, Checksum: s.pixelsCRC,
		Generation: s.generation.Load(), Holders: s.holders.Load(),
	}
}
