package bench

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInterleave(t *testing.T) {
	var order string
	side := func(name string, values ...float64) rate {
		return func(context.Context) (float64, error) {
			order += name
			v := values[0]
			values = values[1:]
			return v, nil
		}
	}
	var m Measure
	if err := m.interleave(t.Context(), 3, side("a", 1, 8, 3), side("l", 2, 10, 3)); err != nil {
		t.Fatal(err)
	}
	if order != "allaal" {
		t.Errorf("measured in the order %s", order)
	}
	if m.Achieved != 3 || m.Limit != 3 || m.Ratio != 0.8 || m.Pairs != 3 {
		t.Errorf("%+v", m)
	}
	broken := errors.New("broken")
	err := m.interleave(t.Context(), 1, side("a", 1), func(context.Context) (float64, error) { return 0, broken })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.v); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.v, got, c.want)
		}
	}
}

func TestLatency(t *testing.T) {
	if latency(nil) != nil {
		t.Error("there is something without times")
	}
	times := make([]time.Duration, 0, 1000)
	for i := range 1000 {
		times = append(times, time.Duration(1000-i))
	}
	if got := *latency(times); got != (Latency{P50: 501, P99: 991, P999: 1000, Max: 1000}) {
		t.Errorf("%+v", got)
	}
}

// TestRawDisk writes for real, and leaves nothing behind.
func TestRawDisk(t *testing.T) {
	dir := t.TempDir()
	r := newRawDisk(dir, 8192, 64<<10, 100, 1<<20, 4)
	if r.write != 64<<10 || r.file != 12*64<<10 {
		t.Fatalf("writes of %d bytes into files of %d", r.write, r.file)
	}
	perSec, err := r.run(t.Context(), 2<<20)
	if err != nil || perSec <= 0 {
		t.Errorf("%g bytes/s, %v", perSec, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := newRawDisk(dir+"/missing", 8192, 64<<10, 100, 1<<20, 4).run(t.Context(), 1<<20); !os.IsNotExist(errors.Unwrap(err)) {
		t.Error(err)
	}
}

func TestTransport(t *testing.T) {
	list, err := Transport(t.Context(), Options{Shm: "/dev/shm", Budget: 64 << 20, Bytes: 64 << 20, Pairs: 1, Told: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Fatalf("%d measures", len(list))
	}
	for _, m := range list {
		if m.Achieved <= 0 || m.Limit <= 0 || m.Ratio <= 0 || m.Frames <= 0 || m.Latency == nil || m.Latency.P50 <= 0 || m.Latency.Max < m.Latency.P99 {
			t.Errorf("%+v", m)
		}
	}
}

func TestVerdict(t *testing.T) {
	disk := Measure{Name: diskName(large, false), Achieved: 1.6, Limit: 1.7, Ratio: 0.94, Frames: 190}
	transport := Measure{Name: transportName(large.name), Frames: 2000}
	want := "2048×2048 uint16 holds up to 190 frames/s here, the disk is the limit; a burst of 32 frames at up to 2000 frames/s fits the budget."
	if got := Verdict([]Measure{transport, disk}, 256<<20); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	disk.Ratio, disk.Limit = 0.5, 3.2
	want = "2048×2048 uint16 holds up to 190 frames/s here, the disk alone would take 381; a burst of 32 frames at up to 2000 frames/s fits the budget."
	if got := Verdict([]Measure{transport, disk}, 256<<20); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Verdict(nil, 1); got != "" {
		t.Errorf("a verdict of nothing: %q", got)
	}
}
