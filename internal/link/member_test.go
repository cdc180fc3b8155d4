package link_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// barren is a way on which no pixels come: those of a frame that was offered are not on it any more.
type barren struct{}

var (
	_ link.Carrier = barren{}
	_ link.Mapping = barren{}
)

func (barren) Names() []string                                          { return []string{link.JetStream} }
func (b barren) Open(context.Context, link.Armed) (link.Mapping, error) { return b, nil }
func (barren) Way() link.Way                                            { return link.Way{Carrier: link.JetStream, Window: 1} }
func (barren) Close() error                                             { return nil }
func (barren) Frames(ctx context.Context, _ []frames.Offer, _ func(frames.Offer, *frames.Frame, error)) int {
	<-ctx.Done()
	return 0
}

// TestWaitEndsWithLink: a member that waits for pixels joins again when its connection ends: nobody brings them any more.
func TestWaitEndsWithLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAway(t, lost)
		f := linktest.NewFaults(a.hub)
		t.Cleanup(f.Close)
		m := link.NewMember(link.MemberConfig{
			Dialer: link.NewDialer(link.DialerConfig{Transport: f, Base: "sluice.cam0"}), Carrier: barren{},
			Join: link.Join{Group: "writer", Name: "w0", PID: 1, Host: "h", Nonce: "n"},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := m.Next(ctx); err != nil {
					ended <- err
					return
				}
			}
		}()
		c := a.accept()
		armed, err := json.Marshal(link.Armed{Spec: linktest.Spec(16, 16), Policy: link.Lossless})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Send(frames.KindArmed, armed), c.Send(frames.KindFrames, frames.AppendOffer(nil, frames.Offer{Generation: 2}))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.Close()
		a.accept()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}
