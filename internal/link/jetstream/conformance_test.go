package jetstream

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
)

// base is a camera's subject that no other test has.
func base() string { return "sluice.cam-" + strings.ToLower(rand.Text()[:8]) }

// newFeeder is acquire's end of the carrier, for the time of a test.
func newFeeder(t testing.TB, b *brokers, c Config) *Feeder {
	t.Helper()
	if c.Connect == nil {
		c.Connect = b.dial
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 64 << 20
	}
	c.Replicas = len(b.opts)
	f, err := NewFeeder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// conform runs the suite of all carriers, over brokers that are restarted or of which one is killed.
func conform(t *testing.T, servers int, storage jetstream.StorageType) {
	linktest.Run(t, linktest.Setup{New: func(t *testing.T) linktest.World {
		b := newBrokers(t, servers, nil)
		dir, base := t.TempDir(), base()
		f := newFeeder(t, b, Config{Base: base, Dir: dir, Storage: storage})
		return linktest.World{
			Transport: func() link.Transport { return link.NATS(b.connect(t)) },
			Restart:   func() { b.restart(0) },
			Listen:    func(l link.Listener) link.Listener { return Listen(l, f) },
			Copies:    true,
			Source: func() linktest.Source {
				return linktest.NewSlabSource(t, dir, Carrier{Connect: b.dial, Base: base, Name: "w0", Memory: 1 << 20}, linktest.Spec(61, 41), 12)
			},
		}
	}})
}

func TestConformanceMemory(t *testing.T) { conform(t, 1, jetstream.MemoryStorage) }

func TestConformanceFile(t *testing.T) { conform(t, 1, jetstream.FileStorage) }

// TestConformanceCluster: three brokers, a stream on all of them.
func TestConformanceCluster(t *testing.T) { conform(t, 3, jetstream.FileStorage) }
