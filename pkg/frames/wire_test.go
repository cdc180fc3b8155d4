package frames_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sluicedaq/sluice/pkg/frames"
)

var (
	offers = []frames.Offer{
		{Seq: 0x0102030405060708, FrameID: 0x11, DeviceNS: -2, HostNS: 1, Generation: 0x22, Epoch: 0x33, Slot: 0x44556677, Checksum: 0x0a0b0c0d},
		{Seq: math.MaxUint64, FrameID: math.MaxUint64, DeviceNS: math.MinInt64, HostNS: math.MaxInt64, Generation: 1, Slot: math.MaxUint32, Checksum: math.MaxUint32},
		{},
	}
	releases = []frames.Release{
		{Seq: 7, Generation: 0x22, Epoch: 0x33, Slot: 0x44556677, Outcome: frames.Durable},
		{Seq: math.MaxUint64, Outcome: frames.Unwritten},
		{},
	}
	losses = []frames.LossRecord{
		{Loss: frames.Loss{Seq: 7, Count: 2, FirstFrameID: 0x11, LastFrameID: 0x12, FirstNS: -1, LastNS: 5,
			Reason: frames.Missed, Stage: frames.AtCamera}, Epoch: 0x33},
		{Loss: frames.Loss{Seq: math.MaxUint64 - 1, Count: 1, Reason: frames.HostLost, Stage: frames.AtHost}},
	}
	assignments = []frames.Assignment{{Shard: 3, Epoch: 4}, {Shard: math.MaxUint64, Epoch: math.MaxUint64}, {}}
)

// encode appends all records.
func encode[R any](add func([]byte, R) []byte, rs []R) (b []byte) {
	for _, r := range rs {
		b = add(b, r)
	}
	return b
}

// TestLayout holds the encodings against docs/link.md, byte by byte.
func TestLayout(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string // hexadecimal, one field a word
	}{
		"packet": {
			frames.AppendPacket(nil, frames.Packet{Kind: frames.KindEnd, Conn: 0x0102030405060708, N: 9, Ack: 10, Body: []byte("{}")}),
			"534c5531 06 000000 0807060504030201 0900000000000000 0a00000000000000 7b7d",
		},
		"offer": {
			frames.AppendOffer(nil, offers[0]),
			"0807060504030201 1100000000000000 feffffffffffffff 0100000000000000 2200000000000000 3300000000000000 77665544 0d0c0b0a",
		},
		"release": {
			frames.AppendRelease(nil, releases[0]),
			"0700000000000000 2200000000000000 3300000000000000 77665544 01 000000",
		},
		"loss": {
			frames.AppendLossRecord(nil, losses[0]),
			"0700000000000000 0200000000000000 1100000000000000 1200000000000000 ffffffffffffffff 0500000000000000 3300000000000000 04 01 000000000000",
		},
		"assignment": {
			frames.AppendAssignment(nil, assignments[0]),
			"0300000000000000 0400000000000000",
		},
	} {
		if got, want := hex.EncodeToString(c.got), strings.ReplaceAll(c.want, " ", ""); got != want {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
}

// TestKinds pins the numbers: they are on the wire.
func TestKinds(t *testing.T) {
	for kind, want := range map[frames.Kind]uint8{
		frames.KindArmed: 1, frames.KindAssign: 2, frames.KindFrames: 3, frames.KindLosses: 4, frames.KindEvent: 5,
		frames.KindEnd: 6, frames.KindFinish: 7, frames.KindClosed: 8,
		frames.KindReady: 33, frames.KindReleases: 34, frames.KindSettled: 35, frames.KindSealed: 36,
		frames.KindFinished: 37, frames.KindFailed: 38,
		frames.KindHeartbeat: 64, frames.KindReset: 65, frames.KindJoin: 66, frames.KindWelcome: 67,
	} {
		if uint8(kind) != want {
			t.Errorf("kind %d, want %d", kind, want)
		}
	}
}

func TestPacketRoundTrip(t *testing.T) {
	for _, p := range []frames.Packet{
		{Kind: frames.KindReset, Conn: 1, Body: []byte{}},
		{Kind: 255, Conn: math.MaxUint64, N: math.MaxUint64, Ack: math.MaxUint64, Body: []byte("body")},
	} {
		got, err := frames.DecodePacket(frames.AppendPacket(nil, p))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, got); d != "" {
			t.Error(d)
		}
	}
}

func TestRecordRoundTrips(t *testing.T) {
	roundTrip(t, offers, frames.AppendOffer, frames.DecodeOffers, frames.OfferSize)
	roundTrip(t, releases, frames.AppendRelease, frames.DecodeReleases, frames.ReleaseSize)
	roundTrip(t, losses, frames.AppendLossRecord, frames.DecodeLossRecords, frames.LossRecordSize)
	roundTrip(t, assignments, frames.AppendAssignment, frames.DecodeAssignments, frames.AssignmentSize)
}

// roundTrip encodes records behind a prefix, decodes them behind another, and tries every cut of the body.
func roundTrip[R any](t *testing.T, rs []R, add func([]byte, R) []byte, decode func([]R, []byte) ([]R, error), size int) {
	t.Helper()
	body := encode(add, rs)
	if len(body) != size*len(rs) {
		t.Fatalf("%d %T take %d bytes, want %d each", len(rs), rs[0], len(body), size)
	}
	got, err := decode(rs[:1:1], body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append(rs[:1:1], rs...), got); d != "" {
		t.Errorf("%T: %s", rs[0], d)
	}
	for n := range body {
		got, err := decode(rs[:1:1], body[:n])
		if whole := n > 0 && n%size == 0; whole != (err == nil) || !whole && !errors.Is(err, frames.ErrWire) {
			t.Errorf("%T: the error for %d bytes is %v", rs[0], n, err)
		}
		if err != nil && len(got) != 1 {
			t.Errorf("%T: %d records come with an error, want the one given", rs[0], len(got))
		}
	}
}

func TestMalformedPackets(t *testing.T) {
	good := frames.AppendPacket(nil, frames.Packet{Kind: frames.KindEnd, Conn: 1, N: 2, Ack: 3, Body: []byte("{}")})
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0x80
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "one byte short": good[:31], "other magic": flip(0), "other version": flip(3),
		"reserved 5": flip(5), "reserved 6": flip(6), "reserved 7": flip(7),
	} {
		if _, err := frames.DecodePacket(b); !errors.Is(err, frames.ErrWire) {
			t.Errorf("%s: error is %v, want ErrWire", name, err)
		}
	}
}

// TestMalformedRecords breaks the second of two records; the first is not returned either.
func TestMalformedRecords(t *testing.T) {
	for at := 29; at < frames.ReleaseSize; at++ {
		malformed(t, "reserved byte of a release", releases, frames.AppendRelease, frames.DecodeReleases, at, 1)
	}
	malformed(t, "outcome", releases, frames.AppendRelease, frames.DecodeReleases, 28, 10)
	for at := 58; at < frames.LossRecordSize; at++ {
		malformed(t, "reserved byte of a loss", losses, frames.AppendLossRecord, frames.DecodeLossRecords, at, 1)
	}
	for _, reason := range []frames.State{frames.Absent, frames.Durable, 10, 255} {
		malformed(t, "reason", losses, frames.AppendLossRecord, frames.DecodeLossRecords, 56, byte(reason))
	}
	for _, stage := range []frames.Stage{0, 5, 255} {
		malformed(t, "stage", losses, frames.AppendLossRecord, frames.DecodeLossRecords, 57, byte(stage))
	}
	malformed(t, "count 0", losses, frames.AppendLossRecord, frames.DecodeLossRecords, 8, 0)
	malformed(t, "an end of 2^64", losses, frames.AppendLossRecord, frames.DecodeLossRecords, 8, 2)
}

func malformed[R any](t *testing.T, what string, rs []R, add func([]byte, R) []byte, decode func([]R, []byte) ([]R, error), at int, value byte) {
	t.Helper()
	b := encode(add, rs[:2])
	b[len(b)/2+at] = value
	got, err := decode(nil, b)
	if !errors.Is(err, frames.ErrWire) || len(got) != 0 {
		t.Errorf("%s (byte %d = %d): %d records, error %v; want none and ErrWire", what, at, value, len(got), err)
	}
}

func FuzzDecodePacket(f *testing.F) {
	f.Add(frames.AppendPacket(nil, frames.Packet{Kind: frames.KindFrames, Conn: 1, N: 2, Ack: 3, Body: encode(frames.AppendOffer, offers)}))
	f.Add(frames.AppendPacket(nil, frames.Packet{Kind: frames.KindReset, Conn: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := frames.DecodePacket(b)
		if err != nil {
			if !errors.Is(err, frames.ErrWire) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if back := frames.AppendPacket(nil, p); !bytes.Equal(back, b) {
			t.Fatalf("%x decodes and encodes to %x", b, back)
		}
	})
}

func FuzzDecodeOffers(f *testing.F) {
	f.Add(encode(frames.AppendOffer, offers))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzRecords(t, b, frames.AppendOffer, frames.DecodeOffers, frames.OfferSize)
	})
}

func FuzzDecodeReleases(f *testing.F) {
	f.Add(encode(frames.AppendRelease, releases))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzRecords(t, b, frames.AppendRelease, frames.DecodeReleases, frames.ReleaseSize)
	})
}

func FuzzDecodeLossRecords(f *testing.F) {
	f.Add(encode(frames.AppendLossRecord, losses))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzRecords(t, b, frames.AppendLossRecord, frames.DecodeLossRecords, frames.LossRecordSize)
	})
}

func FuzzDecodeAssignments(f *testing.F) {
	f.Add(encode(frames.AppendAssignment, assignments))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzRecords(t, b, frames.AppendAssignment, frames.DecodeAssignments, frames.AssignmentSize)
	})
}

// fuzzRecords holds that a body is refused with ErrWire, or is the one encoding of what it decodes to.
func fuzzRecords[R any](t *testing.T, body []byte, add func([]byte, R) []byte, decode func([]R, []byte) ([]R, error), size int) {
	rs, err := decode(nil, body)
	if err != nil {
		if !errors.Is(err, frames.ErrWire) || len(rs) != 0 {
			t.Fatalf("%d records and the error %v", len(rs), err)
		}
		return
	}
	if len(rs)*size != len(body) {
		t.Fatalf("%d records of %d bytes from %d bytes", len(rs), size, len(body))
	}
	if back := encode(add, rs); !bytes.Equal(back, body) {
		t.Fatalf("%x decodes and encodes to %x", body, back)
	}
}
