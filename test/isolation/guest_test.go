package isolation_test

import (
	"context"
	"crypto/rand"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// guest is a member of the group analyze that does as a test wants. It answers what acquire asks; take gets the frames.
type guest struct {
	*link.Member
	presence *shm.Presence
	cancel   context.CancelFunc
	working  sync.WaitGroup
}

// join has a guest join the camera's analysers.
func join(t *testing.T, nc *nats.Conn, camera, name string, take func(g *guest, fs []link.Offered)) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	presence, err := shm.Announce(ctx, "/dev/shm", camera, name)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{presence: presence, Member: link.NewMember(link.MemberConfig{
		Dialer:  link.NewDialer(link.DialerConfig{Transport: link.NATS(nc), Base: "sluice." + camera, Carrier: link.SharedMemory}),
		Carrier: shm.Carrier{Dir: "/dev/shm"},
		Join:    link.Join{Group: "analyze", Name: name, PID: os.Getpid(), Host: host, Nonce: rand.Text()},
	})}
	working, stop := context.WithCancel(context.Background())
	g.cancel = stop
	g.working.Go(func() { g.work(working, take) })
	return g
}

func (g *guest) work(ctx context.Context, take func(*guest, []link.Offered)) {
	for {
		d, err := g.Next(ctx)
		if err != nil {
			return
		}
		switch d.Kind {
		case frames.KindArmed:
			g.Report(frames.KindReady, link.Ready{Run: d.Armed.Spec.Run})
		case frames.KindFrames:
			take(g, d.Frames)
		case frames.KindEnd:
			g.Report(frames.KindFinished, link.Finished{Run: d.End.Run})
		}
	}
}

// leave ends the membership, with whatever it has in hand.
func (g *guest) leave(t *testing.T) {
	t.Helper()
	g.cancel()
	g.working.Wait()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := g.presence.Close(); err != nil {
		t.Error(err)
	}
}
