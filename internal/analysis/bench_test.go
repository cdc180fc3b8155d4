package analysis_test

import (
	"fmt"
	"testing"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// BenchmarkLossless takes frames through slab, link, means and combiner, until all are released.
func BenchmarkLossless(b *testing.B) {
	for _, g := range []frames.Geometry{
		{Height: 512, Width: 512, Channels: 1, Dtype: frames.Uint8}, {Height: 2048, Width: 2048, Channels: 1, Dtype: frames.Uint16},
	} {
		for _, members := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", g, members), func(b *testing.B) {
				s := newStation(b, link.Lossless, members, run.Spec{Geometry: g, FPS: 500})
				for _, name := range names(members) {
					s.join(name, nil)
				}
				s.arm(max(16, (64<<20)/g.FrameBytes()), 0)
				b.SetBytes(int64(g.FrameBytes()))
				seq := uint64(0)
				for b.Loop() {
					s.offer(seq, int64(seq)*2_000_000, func([]byte) {})
					seq++
				}
				s.drain()
				b.StopTimer()
				if r, _ := s.final(); r.Coverage.Seen != seq {
					b.Errorf("%d of %d seen", r.Coverage.Seen, seq)
				}
			})
		}
	}
}
