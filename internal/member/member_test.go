package member_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/member"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAcquireGoneWithoutAWord: a member that was asked to go waits for acquire to drain. An acquire that was lost with its
// last word must not keep it for ever.
func TestAcquireGoneWithoutAWord(t *testing.T) {
	srv := bustest.Start(t)
	camera := "member-" + strings.ToLower(rand.Text()[:6])
	acquire := srv.Connect("acquire")
	listener, err := link.Listen(link.ListenerConfig{
		Transport: link.NATS(acquire), Base: "sluice." + camera, Timing: link.Timing{Heartbeat: 20 * time.Millisecond}, Groups: []string{"watch"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	asked := make(chan bool, 2)
	abandoned := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- member.Run(ctx, nil, func(string) string { return "" }, member.Config{
			Group: "watch", Camera: camera, Name: "watch-1", NATS: config.NATS{NATS: srv.URL(), ConnectTimeout: 10 * time.Second},
			Heartbeat: 20 * time.Millisecond, Silence: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		}, func(*nats.Conn) (member.Work, error) {
			return member.Work{
				Run: func(ctx context.Context, rx link.Receiver) error {
					next, stop := context.WithCancel(ctx)
					defer stop()
					go func() {
						select {
						case <-abandoned:
							stop()
						case <-next.Done():
						}
					}()
					_, err := rx.Next(next)
					if ctx.Err() == nil {
						return nil
					}
					return err
				},
				Leave:   func(orphaned bool) { asked <- orphaned },
				Abandon: func() { abandoned <- struct{}{} },
				Health:  func() link.Health { return link.Health{} },
			}, nil
		})
	}()
	joined, err := listener.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if <-asked {
		t.Error("the supervisor is not gone")
	}
	// While acquire is heard of, the member stays.
	seen := joined.Peer().Heard
	for beats := 0; beats < 50; {
		select {
		case err := <-ended:
			t.Fatalf("it went while acquire was there: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if h := joined.Peer().Heard; h.After(seen) {
			seen, beats = h, beats+1
		}
	}
	acquire.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for ever")
	}
}
