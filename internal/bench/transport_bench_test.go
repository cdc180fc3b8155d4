package bench

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/pairs"
	"github.com/sluicedaq/sluice/internal/usage"
)

// BenchmarkTransport is frames through a slab of 256 MiB to readers of every cache line, in turns with memcpy over a working
// set as large: what `sluice bench transport` measures, for more than one reader too. ratio is the median of the pairs';
// cpu-us/frame is the processor's time for a frame, camera, broker and readers together; p50-ms and p99-ms are from
// capture to release at half of that rate.
func BenchmarkTransport(b *testing.B) {
	const slab = 256 << 20
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3 * runtime.NumCPU()))
	srv := bustest.Start(b)
	for _, size := range []struct {
		name  string
		frame int
		n     int // frames in a side of a pair
	}{{"8MiB", 8 << 20, 256}, {"256KiB", 256 << 10, 8192}, {"4KiB", 4 << 10, 1 << 17}} {
		for _, to := range []crowd{{1, 1}, {1, 2}, {1, 3}, {2, 1}} {
			b.Run(fmt.Sprintf("%s/groups=%d/members=%d", size.name, to.groups, to.members), func(b *testing.B) {
				slots := min(slab/size.frame, maxSlots)
				limit, err := newCopier(size.frame, slots*size.frame)
				if err != nil {
					b.Fatal(err)
				}
				defer limit.close()
				t, err := newTransport(b.Context(), "/dev/shm", "bench-"+strings.ToLower(rand.Text()[:8]), limit.frame, slots, to,
					func() (*nats.Conn, error) { return srv.Connect("bench"), nil })
				if err != nil {
					b.Fatal(err)
				}
				defer func() {
					if err := t.close(); err != nil {
						b.Error(err)
					}
				}()
				run := func(n int, every time.Duration) {
					if _, err := t.run(b.Context(), n, every); err != nil {
						b.Fatal(err)
					}
				}
				run(max(slots, size.n/4), 0)
				limit.memcpy(max(slots, size.n/4))
				var m pairs.Meter
				var cpu usage.CPU
				for b.Loop() {
					m.Pair(func() { limit.memcpy(size.n) }, func() {
						before := usage.Own()
						run(size.n, 0)
						cpu = cpu.Add(usage.Own().Sub(before))
					})
				}
				r := m.Result()
				perSec := float64(size.n) / r.B
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(r.Ratio, "ratio")
				b.ReportMetric(perSec, "frames/s")
				b.ReportMetric(perSec*float64(size.frame)/1e9, "GB/s")
				b.ReportMetric(cpu.Seconds()/float64(r.Pairs*size.n)*1e6, "cpu-us/frame")
				t.dispatch.ForgetLatency()
				run(int(max(50, min(perSec/2, 20000))), time.Duration(2e9/perSec))
				if l := t.dispatch.Latency(); l != nil {
					b.ReportMetric(float64(l.P50NS)/1e6, "p50-ms")
					b.ReportMetric(float64(l.P99NS)/1e6, "p99-ms")
				}
			})
		}
	}
}
