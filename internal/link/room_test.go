package link

import (
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestRoom: what all connections keep for readers that don't come, and because of gaps, is bounded in sum; each has some
// of its own all the same, and what was taken is given back.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members = 64
		r, book := newRoom(sharedBytes), refusal.New(nil)
		conns := make([]*conn, members)
		for i := range conns {
			conns[i] = newConn(5, ends{transport: &wire{}, subject: "s", room: r, book: book}, Peer{})
			go conns[i].keep()
		}
		kept := func() (total int) {
			for _, c := range conns {
				total += c.inBytes + c.waitingBytes
			}
			return total
		}
		const size = 32 << 10
		in := func(c *conn, n uint64) {
			c.handle(frames.Packet{Kind: frames.KindReleases, Conn: 5, N: n, Body: make([]byte, size)})
		}
		for _, c := range conns[:members-1] {
			for n := uint64(1); n <= 200; n++ {
				in(c, n)     // in order
				in(c, n+300) // beyond a gap
			}
		}
		if n := kept(); n > sharedBytes+members*(ownBytes+size+packetBytes) || n < sharedBytes {
			t.Errorf("%d bytes are kept, want at most %d shared and %d of each one's own", n, sharedBytes, ownBytes)
		}
		if r.left.Load() < 0 || r.left.Load() > size+packetBytes {
			t.Errorf("%d bytes of the room are left", r.left.Load())
		}
		if book.Counts()[refusal.Unkept] == 0 {
			t.Error("nothing was counted")
		}
		// One who behaves is not held up by all the others.
		good := conns[members-1]
		for n := uint64(1); n <= 100; n++ {
			in(good, n)
			if _, _, err := good.Receive(t.Context()); err != nil || good.seen != n {
				t.Fatalf("packet %d: saw %d, %v", n, good.seen, err)
			}
		}
		// A packet of any size goes when nothing else waits.
		good.handle(frames.Packet{Kind: frames.KindReleases, Conn: 5, N: 101, Body: make([]byte, maxBody)})
		if good.seen != 101 {
			t.Error("a large packet is not taken")
		}
		for _, c := range conns {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := r.left.Load(); n != sharedBytes {
			t.Errorf("%d bytes of the room are left in the end, want %d", n, sharedBytes)
		}
	})
}

// Packets without a body are no way around the bound.
func TestRoomOfEmptyPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestConn(t, &wire{})
		for n := uint64(1); n <= 1<<17; n++ {
			c.handle(frames.Packet{Kind: frames.KindReleases, Conn: 5, N: n})
		}
		if c.seen != unreadBytes/packetBytes {
			t.Errorf("%d packets are kept, want %d", c.seen, unreadBytes/packetBytes)
		}
	})
}
