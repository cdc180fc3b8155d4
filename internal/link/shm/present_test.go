package shm

import (
	"slices"
	"testing"
)

// TestPresent: only members that live are there, neither those of other cameras nor acquire.
func TestPresent(t *testing.T) {
	dir := t.TempDir()
	for _, who := range [][2]string{{"cam0", "w1"}, {"cam0", "w2"}, {"cam1", "w3"}, {"cam0", "w4"}} {
		p, err := Announce(t.Context(), dir, who[0], who[1])
		if err != nil {
			t.Fatal(err)
		}
		if who[1] == "w4" {
			p.Close()
			continue
		}
		t.Cleanup(func() { p.Close() })
	}
	p, err := AnnounceAcquire(t.Context(), dir, "cam0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := Present(dir, "cam0"); !slices.Equal(got, []string{"w1", "w2"}) {
		t.Errorf("present are %q", got)
	}
}
