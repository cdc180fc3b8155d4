package analyze

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/usage"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// allowance is what an analyser may take beyond what it states when it joins a run.
const allowance = 128 << 20

// TestMemory: the anonymous memory of the real analyser stays within what it has stated, over two runs, and what it states is
// what its documents say: 5 bytes a pixel, 4 for each worker but the first, and 60 MiB besides.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		height, width, workers, slots, n int
		dtype                            frames.Dtype
	}{
		{512, 512, 3, 64, 3000, frames.Uint16},
		{512, 512, 1, 64, 2000, frames.Uint8},
		{2048, 2048, 2, 8, 300, frames.Uint16},
		{3000, 4096, 3, 4, 60, frames.Uint16},
		{8192, 8192, 1, 2, 12, frames.Uint16},
	} {
		g := frames.Geometry{Height: c.height, Width: c.width, Channels: 1, Dtype: c.dtype}
		t.Run(fmt.Sprintf("%s in %d", g, c.workers), func(t *testing.T) {
			f := newFeeder(t, link.Lossless, 1, g)
			p := f.start("analyze-0", nil, "--spectrum-of", "all", "--spectrum-every", "50ms", "--spectrum-workers", strconv.Itoa(c.workers))
			for range 2 {
				f.spec.Run, f.seq = frames.NewRunID(), 0
				f.arm(c.slots, 0)
				stated := f.dispatcher.Members()[0].BufferBytes
				pixels := int64(c.height * c.width)
				if most := pixels*int64(5+4*(c.workers-1))*11/10 + 60<<20; stated < 4*pixels*int64(c.workers) || stated > most {
					t.Errorf("%d bytes stated, at most %d documented", stated, most)
				}
				var peak usage.Peak
				ctx, cancel := context.WithCancel(t.Context())
				var watching sync.WaitGroup
				watching.Go(func() { peak.Watch(ctx, p.Pid) })
				f.offer(c.n)
				f.settle()
				f.drain()
				cancel()
				watching.Wait()
				if n := peak.Bytes(); n == 0 || n > stated+allowance {
					t.Errorf("%d MiB of anonymous memory, %d MiB stated", n>>20, stated>>20)
				} else {
					t.Logf("%d MiB of anonymous memory, %d MiB stated", n>>20, stated>>20)
				}
			}
		})
	}
}
