package frames_test

import (
	"fmt"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// A packet of two offers, as acquire sends it and a consumer reads it.
func ExampleDecodePacket() {
	body := frames.AppendOffer(nil, frames.Offer{Seq: 41, Slot: 3, Generation: 9})
	body = frames.AppendOffer(body, frames.Offer{Seq: 42, Slot: 0, Generation: 10})
	wire := frames.AppendPacket(nil, frames.Packet{Kind: frames.KindFrames, Conn: 0xc0ffee, N: 1, Body: body})

	p, err := frames.DecodePacket(wire)
	if err != nil {
		fmt.Println(err)
		return
	}
	offers, err := frames.DecodeOffers(nil, p.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("packet %d of connection %x\n", p.N, p.Conn)
	for _, o := range offers {
		fmt.Printf("frame %d in slot %d\n", o.Seq, o.Slot)
	}
	// Output:
	// packet 1 of connection c0ffee
	// frame 41 in slot 3
	// frame 42 in slot 0
}

// Pixels belong to the frame until its last release.
func ExampleFrame() {
	f := frames.NewFrame(frames.Header{Seq: 5}, []byte{1, 2, 3}, nil, func() { fmt.Println("memory is free") })
	if pixels, err := f.Pixels(); err == nil {
		fmt.Println(len(pixels), "bytes")
	}
	f.Release()
	_, err := f.Pixels()
	fmt.Println(err)
	// Output:
	// 3 bytes
	// memory is free
	// pixels of frame 5: frame used after its release
}

// A range of losses is cut where a shard ends: records never span two.
func ExampleLoss_Split() {
	l := frames.Loss{Seq: 90, Count: 20, FirstFrameID: 190, LastFrameID: 209, Reason: frames.Paused, Stage: frames.AtCamera}
	before, after := l.Split(100)
	fmt.Println(before.Seq, before.Count, after.Seq, after.Count, after.Follows(before))
	// Output: 90 10 100 10 true
}

// A shape that no frame can have is refused with the reason.
func ExampleGeometry_Validate() {
	g := frames.Geometry{Height: 2048, Width: 0, Channels: 1, Dtype: frames.Uint16}
	fmt.Println(g.Validate())
	g.Width = 2048
	fmt.Println(g, g.FrameBytes(), g.Validate())
	// Output:
	// geometry: width 0 is less than 1
	// 2048x2048 uint16 8388608 <nil>
}
