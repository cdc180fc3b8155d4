package frames

import (
	"encoding/binary"
	"fmt"
)

// Kind says what a packet carries.
type Kind uint8

// The kinds. acquire sends the first group to members, members send the second to acquire, both send
// heartbeats. Bodies of kinds marked JSON are described in docs/link.md.
const (
	KindArmed  Kind = 1 // JSON: a run is about to begin
	KindAssign Kind = 2 // Assignments: shards that the member owns from now on
	KindFrames Kind = 3 // Offers
	KindLosses Kind = 4 // LossRecords
	KindEvent  Kind = 5 // JSON: a line for the run's event log
	KindEnd    Kind = 6 // JSON: the camera's last frame was offered
	KindFinish Kind = 7 // JSON: complete the store
	KindClosed Kind = 8 // JSON: the run is over, its slab goes

	KindReady    Kind = 33 // JSON: the answer to KindArmed
	KindReleases Kind = 34 // Releases
	KindSettled  Kind = 35 // LossRecords whose ledger lines are synced
	KindSealed   Kind = 36 // Assignments: shards that are complete and renamed
	KindFinished Kind = 37 // JSON: the answer to KindFinish
	KindFailed   Kind = 38 // JSON: the member cannot go on
	KindMissing  Kind = 39 // Offers whose pixels have not come to a member on another host

	KindHeartbeat Kind = 64 // JSON, never numbered: the sender's state
	KindReset     Kind = 65 // no body, never numbered: the receiver does not know this connection
	KindJoin      Kind = 66 // JSON, never numbered: a member asks to join
	KindWelcome   Kind = 67 // JSON, never numbered: the answer to KindJoin
)

// Packet is one message of the link. N numbers the packets of one direction of one connection from 1;
// it is 0 in kinds that are never numbered. Ack is the highest number up to which the sender has seen every
// packet of the other direction.
type Packet struct {
	Kind Kind
	Conn uint64
	N    uint64
	Ack  uint64
	Body []byte
}

// errReserved is about bytes that must be 0 until a later version gives them a meaning: a receiver that ignored
// them would misread that version.
var errReserved = fmt.Errorf("%w: reserved bytes are set", ErrWire)

const (
	packetMagic      = 0x31554c53 // "SLU1" read as a little-endian word
	packetHeaderSize = 32
)

// AppendPacket appends the encoding of p to b.
func AppendPacket(b []byte, p Packet) []byte {
	b = binary.LittleEndian.AppendUint32(b, packetMagic)
	b = append(b, byte(p.Kind), 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, p.Conn)
	b = binary.LittleEndian.AppendUint64(b, p.N)
	b = binary.LittleEndian.AppendUint64(b, p.Ack)
	return append(b, p.Body...)
}

// DecodePacket decodes one packet; its Body aliases b. The error wraps [ErrWire].
func DecodePacket(b []byte) (Packet, error) {
	if len(b) < packetHeaderSize {
		return Packet{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrWire, len(b), packetHeaderSize)
	}
	if m := binary.LittleEndian.Uint32(b); m != packetMagic {
		return Packet{}, fmt.Errorf("%w: it begins with %#08x", ErrWire, m)
	}
	if b[5]|b[6]|b[7] != 0 {
		return Packet{}, errReserved
	}
	return Packet{
		Kind: Kind(b[4]),
		Conn: binary.LittleEndian.Uint64(b[8:]),
		N:    binary.LittleEndian.Uint64(b[16:]),
		Ack:  binary.LittleEndian.Uint64(b[24:]),
		Body: b[packetHeaderSize:],
	}, nil
}

// Offer names a frame in the slab to a consumer.
type Offer struct {
	Seq        uint64
	FrameID    uint64
	DeviceNS   int64
	HostNS     int64
	Generation uint64 // of the slot; another number in the slab means that it was reclaimed
	Epoch      uint64 // of the frame's shard; 0 for groups that own none
	Slot       uint32
	// Checksum is the CRC-32C of the pixels (RFC 3720, appendix B.4), 0 where it is not known.
	Checksum uint32
}

// OfferSize is the encoded size of one Offer in bytes.
const OfferSize = 56

// AppendOffer appends the encoding of o to b.
func AppendOffer(b []byte, o Offer) []byte {
	b = binary.LittleEndian.AppendUint64(b, o.Seq)
	b = binary.LittleEndian.AppendUint64(b, o.FrameID)
	b = binary.LittleEndian.AppendUint64(b, uint64(o.DeviceNS))
	b = binary.LittleEndian.AppendUint64(b, uint64(o.HostNS))
	b = binary.LittleEndian.AppendUint64(b, o.Generation)
	b = binary.LittleEndian.AppendUint64(b, o.Epoch)
	b = binary.LittleEndian.AppendUint32(b, o.Slot)
	return binary.LittleEndian.AppendUint32(b, o.Checksum)
}

// DecodeOffers appends the offers in body to dst. The error wraps [ErrWire]; dst is returned as it was then.
func DecodeOffers(dst []Offer, body []byte) ([]Offer, error) {
	if err := records(body, OfferSize); err != nil {
		return dst, err
	}
	for ; len(body) > 0; body = body[OfferSize:] {
		dst = append(dst, Offer{
			Seq:        binary.LittleEndian.Uint64(body),
			FrameID:    binary.LittleEndian.Uint64(body[8:]),
			DeviceNS:   int64(binary.LittleEndian.Uint64(body[16:])),
			HostNS:     int64(binary.LittleEndian.Uint64(body[24:])),
			Generation: binary.LittleEndian.Uint64(body[32:]),
			Epoch:      binary.LittleEndian.Uint64(body[40:]),
			Slot:       binary.LittleEndian.Uint32(body[48:]),
			Checksum:   binary.LittleEndian.Uint32(body[52:]),
		})
	}
	return dst, nil
}

// Release gives a frame back. It is idempotent: a release whose run, seq, slot and generation are not
// those of the slot is ignored.
type Release struct {
	Seq        uint64
	Generation uint64
	Epoch      uint64
	Slot       uint32
	// Outcome is Durable for a writer's release of a frame whose data and journal record are synced, a
	// reason of loss where it could not be made durable and its ledger line is synced, and Absent for
	// groups that write nothing.
	Outcome State
}

// ReleaseSize is the encoded size of one Release in bytes.
const ReleaseSize = 32

// AppendRelease appends the encoding of r to b.
func AppendRelease(b []byte, r Release) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.Seq)
	b = binary.LittleEndian.AppendUint64(b, r.Generation)
	b = binary.LittleEndian.AppendUint64(b, r.Epoch)
	b = binary.LittleEndian.AppendUint32(b, r.Slot)
	return append(b, byte(r.Outcome), 0, 0, 0)
}

// DecodeReleases appends the releases in body to dst. The error wraps [ErrWire]; dst is returned as it was
// then.
func DecodeReleases(dst []Release, body []byte) ([]Release, error) {
	if err := records(body, ReleaseSize); err != nil {
		return dst, err
	}
	given := len(dst)
	for ; len(body) > 0; body = body[ReleaseSize:] {
		if body[29]|body[30]|body[31] != 0 {
			return dst[:given], errReserved
		}
		if s := State(body[28]); s != Absent && s != Durable && !s.Lost() {
			return dst[:given], fmt.Errorf("%w: a release with the outcome %s", ErrWire, s)
		}
		dst = append(dst, Release{
			Seq:        binary.LittleEndian.Uint64(body),
			Generation: binary.LittleEndian.Uint64(body[8:]),
			Epoch:      binary.LittleEndian.Uint64(body[16:]),
			Slot:       binary.LittleEndian.Uint32(body[24:]),
			Outcome:    State(body[28]),
		})
	}
	return dst, nil
}

// LossRecord is a Loss on its way to the owner of its shard, and back when its ledger line is synced.
// A record never spans two shards.
type LossRecord struct {
	Loss
	Epoch uint64 // of the shard
}

// LossRecordSize is the encoded size of one LossRecord in bytes.
const LossRecordSize = 64

// AppendLossRecord appends the encoding of l to b.
func AppendLossRecord(b []byte, l LossRecord) []byte {
	b = binary.LittleEndian.AppendUint64(b, l.Seq)
	b = binary.LittleEndian.AppendUint64(b, l.Count)
	b = binary.LittleEndian.AppendUint64(b, l.FirstFrameID)
	b = binary.LittleEndian.AppendUint64(b, l.LastFrameID)
	b = binary.LittleEndian.AppendUint64(b, uint64(l.FirstNS))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.LastNS))
	b = binary.LittleEndian.AppendUint64(b, l.Epoch)
	return append(b, byte(l.Reason), byte(l.Stage), 0, 0, 0, 0, 0, 0)
}

// DecodeLossRecords appends the records in body to dst, each checked with [Loss.Valid]. The error wraps
// [ErrWire]; dst is returned as it was then.
func DecodeLossRecords(dst []LossRecord, body []byte) ([]LossRecord, error) {
	if err := records(body, LossRecordSize); err != nil {
		return dst, err
	}
	given := len(dst)
	for ; len(body) > 0; body = body[LossRecordSize:] {
		if binary.LittleEndian.Uint64(body[56:])>>16 != 0 {
			return dst[:given], errReserved
		}
		l := LossRecord{
			Loss: Loss{
				Seq:          binary.LittleEndian.Uint64(body),
				Count:        binary.LittleEndian.Uint64(body[8:]),
				FirstFrameID: binary.LittleEndian.Uint64(body[16:]),
				LastFrameID:  binary.LittleEndian.Uint64(body[24:]),
				FirstNS:      int64(binary.LittleEndian.Uint64(body[32:])),
				LastNS:       int64(binary.LittleEndian.Uint64(body[40:])),
				Reason:       State(body[56]),
				Stage:        Stage(body[57]),
			},
			Epoch: binary.LittleEndian.Uint64(body[48:]),
		}
		if err := l.Valid(); err != nil {
			return dst[:given], err
		}
		dst = append(dst, l)
	}
	return dst, nil
}

// Assignment gives a shard to a writer. A shard given again has a higher epoch.
type Assignment struct {
	Shard uint64 // frames [Shard·K, (Shard+1)·K) of the run
	Epoch uint64
}

// AssignmentSize is the encoded size of one Assignment in bytes.
const AssignmentSize = 16

// AppendAssignment appends the encoding of a to b.
func AppendAssignment(b []byte, a Assignment) []byte {
	b = binary.LittleEndian.AppendUint64(b, a.Shard)
	return binary.LittleEndian.AppendUint64(b, a.Epoch)
}

// DecodeAssignments appends the assignments in body to dst. The error wraps [ErrWire]; dst is returned as it
// was then.
func DecodeAssignments(dst []Assignment, body []byte) ([]Assignment, error) {
	if err := records(body, AssignmentSize); err != nil {
		return dst, err
	}
	for ; len(body) > 0; body = body[AssignmentSize:] {
		dst = append(dst, Assignment{
			Shard: binary.LittleEndian.Uint64(body),
			Epoch: binary.LittleEndian.Uint64(body[8:]),
		})
	}
	return dst, nil
}

// records checks that body is a whole number of records of the given size, at least one.
func records(body []byte, size int) error {
	if len(body) == 0 || len(body)%size != 0 {
		return fmt.Errorf("%w: a body of %d bytes is not records of %d", ErrWire, len(body), size)
	}
	return nil
}
