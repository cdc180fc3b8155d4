package jetstream

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/slab"
)

// TestAuto: who can open the slab maps it; who can't, wherever he says that he is, takes JetStream.
func TestAuto(t *testing.T) {
	b := newBrokers(t, 1, nil)
	dir := t.TempDir()
	a := linktest.NewSlabSource(t, dir, nil, linktest.Spec(64, 64), 2).Armed()
	for _, c := range []struct {
		what, dir string
		spoil     func(*link.Armed)
		want      string
		err       error
	}{
		{what: "here", dir: dir, want: link.SharedMemory},
		{what: "elsewhere", dir: t.TempDir(), want: link.JetStream},
		{what: "no slab", dir: dir, spoil: func(a *link.Armed) { a.Slab += "x" }, want: link.JetStream},
		{what: "other frames", dir: dir, spoil: func(a *link.Armed) { a.Spec.ShardFrames++ }, err: link.ErrProtocol},
	} {
		carrier := Auto{Slab: shm.Carrier{Dir: c.dir}, Away: Carrier{Connect: b.dial, Base: base(), Name: "w0"}}
		if n := carrier.Names(); !slices.Equal(n, []string{link.SharedMemory, link.JetStream}) {
			t.Errorf("names %q", n)
		}
		armed := a
		if c.spoil != nil {
			c.spoil(&armed)
		}
		m, err := carrier.Open(t.Context(), armed)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
		if err != nil {
			continue
		}
		if got := m.Way().Carrier; got != c.want {
			t.Errorf("%s: pixels come by %s, want %s", c.what, got, c.want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	// Without a broker there is no way, and both reasons are told.
	carrier := Auto{Slab: shm.Carrier{Dir: t.TempDir()}, Away: Carrier{Connect: b.dial, Base: base(), Name: "w0"}}
	b.stop(0)
	_, err := carrier.Open(t.Context(), a)
	if !errors.Is(err, slab.ErrForeign) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "; through JetStream: ") {
		t.Errorf("without a slab and a broker: %v", err)
	}
}
