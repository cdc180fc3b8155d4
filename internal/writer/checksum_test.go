package writer_test

import (
	"path/filepath"
	"testing"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// TestChecksumsOfTheCamera: the store has the checksums that came with the frames, so that it shows which pixels have
// changed since: those of frame 11. Where the first one of a shard is wrong, the camera's are wrong altogether, and the writer makes its own.
func TestChecksumsOfTheCamera(t *testing.T) {
	for name, c := range map[string]struct {
		wrong   func(seq uint64) bool
		corrupt uint64
	}{
		"right":      {func(uint64) bool { return false }, 0},
		"one wrong":  {func(seq uint64) bool { return seq == 11 }, 1},
		"all wrong":  {func(uint64) bool { return true }, 0},
		"from frame": {func(seq uint64) bool { return seq >= 8 }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, testSpec(), 1)
			h.sum = func(seq uint64, pixels []byte) uint32 {
				crc := crc32c.Checksum(pixels)
				if c.wrong(seq) {
					crc++
				}
				return crc
			}
			h.start("writer-0")
			h.must(h.arm(4))
			h.capture(20)
			if sum := h.finish(); sum.Written != 20 {
				t.Errorf("summary %+v", sum)
			}
			r, err := store.Verify(t.Context(), vfs.OS{}, filepath.Join(h.root, h.spec.Store), store.VerifyOptions{})
			h.must(err)
			if r.Corrupt != c.corrupt || r.Written != 20-c.corrupt || r.OK != (c.corrupt == 0) {
				t.Errorf("verify: %+v", r)
			}
			for _, b := range r.Bad {
				if b.Seq != 11 || b.Count != 1 {
					t.Errorf("not as it was captured: %+v", b)
				}
			}
		})
	}
}
