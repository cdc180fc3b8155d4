package pace

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOffsetDoesNotDrift(t *testing.T) {
	for _, tt := range []struct {
		n    uint64
		fps  float64
		want int64
	}{
		{0, 30, 0}, {1, 30, 33333333}, {3, 30, 100000000}, {30 * 86400 * 365, 30, 86400 * 365 * 1e9}, {1e9, 1e6, 1e12},
	} {
		if got := Offset(tt.n, tt.fps); got != tt.want {
			t.Errorf("frame %d at %g: %d, want %d", tt.n, tt.fps, got, tt.want)
		}
	}
}

func TestProducedAgreesWithDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fps := range []float64{3, 29.97, 240, 1e5} {
			p := New(fps)
			p.Start()
			if got := p.Produced(); got != 1 {
				t.Errorf("%g: %d frames at the start, want 1", fps, got)
			}
			for range 50 {
				due := p.Due(p.Produced())
				<-time.After(time.Duration(due - p.Now() - 1))
				before := p.Produced()
				<-time.After(1)
				if after := p.Produced(); after != before+1 {
					t.Fatalf("%g: %d frames a nanosecond before frame %d is due, then %d", fps, before, before, after)
				}
			}
		}
	})
}

func TestWaitWithoutARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(0)
		p.Start()
		for n := range uint64(3) { // the bubble's clock stands still, the timestamps grow nevertheless
			if got, err := p.Wait(t.Context(), n); err != nil || got != int64(n) {
				t.Errorf("frame %d: %d, %v", n, got, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Wait(ctx, 3); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's error", err)
		}
	})
}
