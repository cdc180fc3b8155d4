package capture

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAwaitMembers: the wait ends with the last living member's return, and else at its limit.
func TestAwaitMembers(t *testing.T) {
	const limit = 2500 * time.Millisecond
	for name, c := range map[string]struct {
		present []string
		want    time.Duration
	}{
		"both return":     {[]string{"w1", "w2"}, 300 * time.Millisecond},
		"one is stopped":  {[]string{"w1", "w2", "w3"}, limit},
		"nobody is known": {nil, limit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err := awaitMembers(t.Context(), limit, func() []string { return c.present }, func() []string {
					if time.Since(begun) < 300*time.Millisecond {
						return []string{"w1"}
					}
					return []string{"w2", "w1"}
				})
				if got := time.Since(begun); err != nil || got != c.want {
					t.Errorf("waited for %s, %v; want %s", got, err, c.want)
				}
			})
		})
	}
}
