package capture

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWatchdog: a camera that is silent for the limit has stalled; one that was heard in time has not.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		stalled := make(chan time.Duration, 1)
		w := newWatchdog(5*time.Second, func() { stalled <- time.Since(began) })
		w.start()
		<-time.After(4 * time.Second)
		w.stop()
		<-time.After(10 * time.Second)
		w.start()
		if at := <-stalled; at != 19*time.Second {
			t.Errorf("it stalled after %s", at)
		}
		<-time.After(10 * time.Second)
		if len(stalled) != 0 {
			t.Error("it stalled twice")
		}
	})
}

// TestWatchdogOfStoppedProcess: what the camera did while nobody looked counts neither way.
func TestWatchdogOfStoppedProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchdog(5*time.Second, func() {})
		w.start()
		defer w.stop()
		now := time.Now()
		for i := range 9 {
			now = now.Add(500 * time.Millisecond)
			if w.over(now) {
				t.Fatalf("stalled after %d of ten steps", i+1)
			}
		}
		now = now.Add(time.Minute) // stopped, and woken
		for i := range 10 {
			if w.over(now) {
				t.Fatalf("stalled %d steps after it woke", i)
			}
			now = now.Add(500 * time.Millisecond)
		}
		if !w.over(now) {
			t.Error("not stalled ten steps after it woke")
		}
	})
}

// TestStandstill: a number that does not change stands still, but not while nobody could look.
func TestStandstill(t *testing.T) {
	s := newStandstill(100 * time.Millisecond)
	began := s.moved
	for _, c := range []struct {
		after time.Duration
		n     uint64
		want  time.Duration
	}{
		{100 * time.Millisecond, 0, 100 * time.Millisecond},
		{300 * time.Millisecond, 0, 300 * time.Millisecond},
		{400 * time.Millisecond, 7, 0},
		{900 * time.Millisecond, 7, 500 * time.Millisecond},
		{time.Hour, 7, 500 * time.Millisecond}, // stopped, and woken
		{time.Hour + time.Second, 7, 1500 * time.Millisecond},
	} {
		if got := s.look(c.n, began.Add(c.after)); got != c.want {
			t.Errorf("after %s it stands still for %s, want %s", c.after, got, c.want)
		}
	}
}
