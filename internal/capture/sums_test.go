package capture

import (
	"testing"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestChecksums: frames have the checksums that their camera makes, where the writer has a use for them.
func TestChecksums(t *testing.T) {
	for _, c := range []struct {
		pattern, codec string
		known          bool
	}{{"counter", "none", true}, {"hash", "none", false}, {"counter", "zstd:1", false}} {
		t.Run(c.pattern+" "+c.codec, func(t *testing.T) {
			s := newStation(t)
			s.check = func(o frames.Offer, pixels []byte) bool {
				return c.known && o.Checksum == crc32c.Checksum(pixels) || !c.known && o.Checksum == 0
			}
			s.start(small, "--source=sim:?width=61&height=67&dtype=uint8&fps=0&pattern="+c.pattern, "--frames=10", "--compress="+c.codec)
			s.writer("w1", false)
			s.begin()
			s.expect(s.wait(), run.EndedFrames, 10, 10, 0)
		})
	}
}
