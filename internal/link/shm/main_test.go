package shm

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(memberEnv); dir != "" {
		live(dir)
	}
	goleak.VerifyTestMain(m)
}

// broker is a real one in this process, on a port of its own that it keeps when it is restarted.
type broker struct {
	t    testing.TB
	opts server.Options

	mu     sync.Mutex // guards server
	server *server.Server
}

func newBroker(t testing.TB) *broker {
	b := &broker{t: t, opts: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}}
	b.start()
	b.opts.Port = b.server.Addr().(*net.TCPAddr).Port
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	opts := b.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("the broker does not start")
	}
	b.mu.Lock()
	b.server = s
	b.mu.Unlock()
}

func (b *broker) stop() {
	b.mu.Lock()
	s := b.server
	b.mu.Unlock()
	s.Shutdown()
	s.WaitForShutdown()
}

func (b *broker) restart() {
	b.stop()
	b.start()
}

func (b *broker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.opts.Port) }

func (b *broker) connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.url(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ReconnectJitter(time.Millisecond, time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

func testSpec(width, height int) run.Spec {
	return run.Spec{
		Run: frames.NewRunID(), Camera: "cam0", ShardFrames: 8, Store: "s", Codec: "none",
		Geometry: frames.Geometry{Height: height, Width: width, Channels: 1, Dtype: frames.Uint8},
	}
}

// source is acquire's side of a slab.
type source struct {
	t    testing.TB
	dir  string
	slab *slab.Slab
}

var _ linktest.Source = (*source)(nil)

func newSource(t testing.TB, dir string, spec run.Spec, slots int) *source {
	t.Helper()
	s, err := slab.Create(slab.Config{Dir: dir, Spec: spec, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &source{t, dir, s}
}

func (s *source) Armed() link.Armed {
	return link.Armed{Spec: s.slab.Spec(), Slab: s.slab.Path(), Policy: link.Lossless, Primary: "w0"}
}

func (s *source) Carrier() link.Carrier { return Carrier{Dir: s.dir} }

func (s *source) Put(seq uint64, pixels []byte) frames.Offer {
	slot, ok := s.slab.Take()
	if !ok {
		s.t.Fatal("no slot is free")
	}
	copy(s.slab.Pixels(slot), pixels)
	h := frames.Header{Seq: seq, FrameID: seq + 7, DeviceNS: int64(seq) * 3, HostNS: int64(seq)*3 + 1}
	return s.slab.Commit(slot, h, 1).Offer(slot, 5)
}

func (s *source) Reclaim(o frames.Offer) {
	s.slab.Let(int(o.Slot), 0)
	s.slab.Free(int(o.Slot))
	if slot, ok := s.slab.Take(); !ok || slot != int(o.Slot) {
		s.t.Fatalf("took slot %d, want %d", slot, o.Slot)
	}
}
