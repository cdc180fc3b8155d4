package frames_test

import (
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

const batch = 64 // offers in a packet

// BenchmarkEncode makes a packet of a batch of offers in buffers that are used again.
func BenchmarkEncode(b *testing.B) {
	var body, wire []byte
	b.ReportAllocs()
	b.SetBytes(batch * frames.OfferSize)
	for b.Loop() {
		body = body[:0]
		for i := range uint64(batch) {
			body = frames.AppendOffer(body, frames.Offer{Seq: i, FrameID: i, Generation: i})
		}
		wire = frames.AppendPacket(wire[:0], frames.Packet{Kind: frames.KindFrames, Conn: 1, N: 2, Ack: 3, Body: body})
	}
}

// BenchmarkDecode reads it.
func BenchmarkDecode(b *testing.B) {
	var body []byte
	for i := range uint64(batch) {
		body = frames.AppendOffer(body, frames.Offer{Seq: i})
	}
	wire := frames.AppendPacket(nil, frames.Packet{Kind: frames.KindFrames, Body: body})
	var got []frames.Offer
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		p, err := frames.DecodePacket(wire)
		if err != nil {
			b.Fatal(err)
		}
		if got, err = frames.DecodeOffers(got[:0], p.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoAllocations holds that neither direction allocates once the buffers have grown.
func TestNoAllocations(t *testing.T) {
	body := make([]byte, 0, frames.OfferSize)
	wire := make([]byte, 0, 1024)
	got := make([]frames.Offer, 0, 1)
	if n := testing.AllocsPerRun(100, func() {
		body = frames.AppendOffer(body[:0], offers[0])
		wire = frames.AppendPacket(wire[:0], frames.Packet{Kind: frames.KindFrames, Body: body})
		p, err := frames.DecodePacket(wire)
		if err != nil {
			t.Error(err)
		}
		if got, err = frames.DecodeOffers(got[:0], p.Body); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet, want none", n)
	}
}
