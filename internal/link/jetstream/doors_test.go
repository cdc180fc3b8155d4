package jetstream

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// as connects as a user of the broker, whom nothing may be denied.
func (b *brokers) as(t *testing.T, user string) func(context.Context) (*nats.Conn, error) {
	return func(context.Context) (*nats.Conn, error) {
		return nats.Connect(b.url(), nats.UserInfo(user, "x"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.CustomInboxPrefix("_INBOX."+user),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Errorf("%s: %v", user, err) }))
	}
}

// TestPermissions: the permissions in docs/operations.md are enough for the connections that pixels travel on.
func TestPermissions(t *testing.T) {
	camera := base()
	stream := names{camera}.stream()
	may := func(user string, publish ...string) *server.User {
		return &server.User{Username: user, Password: "x", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX." + user + ".>", camera + ".link.plain." + user}},
		}}
	}
	member := func(name string) *server.User {
		return may(name, "$JS.API.CONSUMER.INFO."+stream+"."+name, "$JS.API.CONSUMER.MSG.NEXT."+stream+"."+name, "$JS.ACK."+stream+"."+name+".>")
	}
	b := newBrokers(t, 1, func(o *server.Options) {
		o.NoAuthUser = "anybody"
		o.Users = []*server.User{
			{Username: "anybody", Password: "x"},
			may("acquire", camera+".link.stream.*", camera+".link.plain.*", "$JS.API.STREAM.INFO."+stream, "$JS.API.STREAM.CREATE."+stream,
				"$JS.API.STREAM.UPDATE."+stream, "$JS.API.STREAM.PURGE."+stream, "$JS.API.STREAM.DELETE."+stream,
				"$JS.API.CONSUMER.CREATE."+stream+".*."+camera+".link.stream.*", "$JS.API.CONSUMER.DELETE."+stream+".*"),
			member("w0"), member("a0"),
		}
	})
	s := newStationAt(t, b, camera, b.as(t, "acquire"), linktest.Spec(1500, 1024), 8, Config{})
	for name, policy := range map[string]link.Policy{"w0": link.Lossless, "a0": link.Latest} {
		c := s.joinBy(t.Context(), b.as(t, name), name, 8<<20, policy)
		if r := c.agree(); r.Error != "" {
			t.Fatalf("%s: %s", name, r.Error)
		}
		released := make(chan frames.Release, 8)
		c.serve(released)
		for seq := range uint64(3) {
			c.offer(seq)
			f := c.next(seq)
			c.Release([]link.Offered{f}, frames.Durable)
			c.released(released)
			s.source.Free(f.Offer)
		}
		if policy == link.Lossless { // as after a connection that broke
			if _, err := s.feeder.renew(t.Context(), name); err != nil {
				t.Error(err)
			}
			if err := s.feeder.empty(name); err != nil {
				t.Error(err)
			}
		}
	}
}
