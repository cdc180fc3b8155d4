package cameratest

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera"
)

// testChecksums: a checksum that the camera makes is that of the pixels, which are those that Retrieve gives; what is
// refused there is refused here.
func testChecksums(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	sums, ok := c.(camera.Checksummer)
	if !ok {
		return
	}
	retrieve := func(dst []byte) error {
		_, err := sums.RetrieveChecksum(dst)
		return err
	}
	n := c.Info().Geometry.FrameBytes()
	wantOrder(t, "retrieve before start", retrieve(make([]byte, n)))
	start(t, c)
	wantOrder(t, "retrieve before grab", retrieve(make([]byte, n)))
	k := newClock(t, c)
	for range 4 {
		g := grab(t, c)
		seq := k.next(t, s, g)
		var crc uint32
		got := guarded(t, n, func(dst []byte) (err error) {
			crc, err = sums.RetrieveChecksum(dst)
			return err
		})
		if made := crc32.Checksum(got, crc32.MakeTable(crc32.Castagnoli)); crc != 0 && crc != made {
			t.Errorf("frame %d: the camera's checksum is %08x, the pixels' %08x", seq, crc, made)
		}
		if s.Pixels == nil || g.Incomplete {
			continue
		}
		want := make([]byte, n)
		if s.Pixels(want, seq); !bytes.Equal(got, want) {
			t.Fatalf("frame %d (id %d) has wrong pixels", seq, g.FrameID)
		}
	}
	wantOrder(t, "second retrieve", retrieve(make([]byte, n)))
	grab(t, c)
	wantOrder(t, "retrieve into a byte too few", retrieve(make([]byte, n-1)))
	wantOrder(t, "retrieve into a byte too many", retrieve(make([]byte, n+1)))
	wantOrder(t, "retrieve into nothing", retrieve(nil))
}
