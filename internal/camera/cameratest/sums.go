package cameratest

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera"
)

// testSums: a checksum that the camera makes is that of the pixels, which are those that Retrieve gives; what is refused
// there is refused here.
func testSums(t *testing.T, s Subject) {
	c, closing := device(t, s.Open)
	defer closing()
	summer, ok := c.(camera.Summer)
	if !ok {
		return
	}
	sum := func(dst []byte) error {
		_, err := summer.RetrieveSum(dst)
		return err
	}
	dst := make([]byte, c.Info().Geometry.FrameBytes())
	wantOrder(t, "retrieve before start", sum(dst))
	start(t, c)
	wantOrder(t, "retrieve before grab", sum(dst))
	k := newClock(t, c)
	for range 4 {
		g := grab(t, c)
		n := k.next(t, s, g)
		crc, err := summer.RetrieveSum(dst)
		if err != nil {
			t.Fatal(err)
		}
		if made := crc32.Checksum(dst, crc32.MakeTable(crc32.Castagnoli)); crc != 0 && crc != made {
			t.Errorf("frame %d: the camera's checksum is %08x, the pixels' %08x", n, crc, made)
		}
		want := make([]byte, len(dst))
		if s.Pixels == nil || g.Incomplete {
			continue
		}
		if s.Pixels(want, n); !bytes.Equal(dst, want) {
			t.Fatalf("frame %d (id %d) has wrong pixels", n, g.FrameID)
		}
	}
	wantOrder(t, "second retrieve", sum(dst))
	grab(t, c)
	wantOrder(t, "retrieve into a byte too few", sum(dst[1:]))
}
