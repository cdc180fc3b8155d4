package doors_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// allowed are the roles that may publish to a subject and that may subscribe to it. Whoever is not named must not.
type allowed struct{ publish, subscribe []string }

func table() map[string]allowed {
	all := map[string]allowed{
		"sluice.cam0.control.status":         {[]string{"acquire", "monitor", "operator"}, []string{"acquire"}},
		"sluice.cam0.status":                 {[]string{"acquire", "writer", "analyze"}, []string{"monitor", "operator"}},
		"sluice.cam0.backpressure":           {[]string{"acquire"}, []string{"monitor", "operator"}},
		"sluice.cam0.events":                 {[]string{"acquire"}, []string{"monitor", "operator"}},
		"sluice.cam0.preview":                {[]string{"analyze"}, []string{"monitor", "operator"}},
		"sluice.cam0.spectrum.spatial":       {[]string{"analyze"}, []string{"writer", "monitor", "operator"}},
		"sluice.cam0.spectrum.temporal":      {[]string{"analyze"}, []string{"writer", "monitor", "operator"}},
		"sluice.cam0.link.combine.analyze-1": {[]string{"analyze"}, []string{"analyze"}},
		"_INBOX.acquire.x":                   {[]string{"acquire"}, []string{"acquire"}},
		"_INBOX.operator.x":                  {[]string{"acquire"}, []string{"operator"}},
		"_INBOX.monitor.x":                   {[]string{"acquire", "writer", "analyze"}, []string{"monitor"}},
		"_INBOX.analyze.x":                   {[]string{"writer", "analyze"}, []string{"analyze"}},
		"_INBOX.writer.x":                    {nil, []string{"writer"}},
		"_INBOX.x":                           {},
		"_INBOX.>":                           {},
		">":                                  {},
		"sluice.>":                           {},
		"sluice.cam0.>":                      {},
		"sluice.cam0.*":                      {}, "sluice.*.*": {}, "sluice.cam0.link.*": {}, "sluice.cam0.link.*.*": {}, "$SRV.*": {}, "*.*.*": {},
		"sluice.cam0.link.>":                   {},
		"$SRV.PING":                            {[]string{"monitor"}, []string{"acquire", "writer", "analyze"}},
		"$SRV.STATS.sluice-writer":             {[]string{"monitor"}, []string{"writer"}},
		"$SRV.>":                               {[]string{"monitor"}, nil},
		"$SYS.REQ.SERVER.PING":                 {},
		"anything":                             {},
		"sluice.cam0.link.jetstream.something": {},
	}
	// Who is of one group neither speaks nor hears as another.
	for _, group := range []string{"writer", "analyze"} {
		all["sluice.cam0.link.join."+group] = allowed{[]string{group}, []string{"acquire"}}
		all["sluice.cam0.link.up."+group+".m"] = allowed{[]string{group}, []string{"acquire"}}
		all["sluice.cam0.link.down."+group+".m"] = allowed{[]string{"acquire"}, []string{group}}
	}
	for _, old := range []string{"join", "up.m", "down.m"} {
		all["sluice.cam0.link."+old] = allowed{}
	}
	all["sluice.cam0.link.up.*.*"] = allowed{nil, []string{"acquire"}}
	all["sluice.cam0.link.down.*.*"] = allowed{}
	// Pixels: acquire alone brings them, makes what they travel in, and takes it away. Members fetch, acknowledge, and hear what
	// is sent to them without a stream. Nobody reads a stream in another way.
	acquire, members := []string{"acquire"}, []string{"writer", "analyze"}
	all["sluice.cam0.link.stream.writer-1"] = allowed{acquire, nil}
	all["sluice.cam0.link.plain.analyze-1"] = allowed{acquire, members}
	for _, does := range []string{
		"STREAM.INFO.sluice_cam0", "STREAM.CREATE.sluice_cam0", "STREAM.UPDATE.sluice_cam0", "STREAM.PURGE.sluice_cam0", "STREAM.DELETE.sluice_cam0",
		"CONSUMER.CREATE.sluice_cam0.writer-1.sluice.cam0.link.stream.writer-1", "CONSUMER.DELETE.sluice_cam0.writer-1",
	} {
		all["$JS.API."+does] = allowed{acquire, nil}
	}
	all["$JS.API.CONSUMER.INFO.sluice_cam0.writer-1"] = allowed{members, nil}
	all["$JS.API.CONSUMER.MSG.NEXT.sluice_cam0.writer-1"] = allowed{members, nil}
	all["$JS.ACK.sluice_cam0.writer-1.1.2.3.1767323045000000000.0"] = allowed{members, nil}
	for _, nobody := range []string{
		"INFO", "ACCOUNT.PURGE.A", "SERVER.REMOVE", "META.LEADER.STEPDOWN", "STREAM.LIST", "STREAM.NAMES", "STREAM.MSG.GET.sluice_cam0",
		"STREAM.MSG.DELETE.sluice_cam0", "STREAM.SNAPSHOT.sluice_cam0", "STREAM.RESTORE.sluice_cam0", "STREAM.PEER.REMOVE.sluice_cam0",
		"STREAM.LEADER.STEPDOWN.sluice_cam0", "DIRECT.GET.sluice_cam0", "DIRECT.GET.sluice_cam0.sluice.cam0.link.stream.writer-1",
		"CONSUMER.CREATE.sluice_cam0", "CONSUMER.CREATE.sluice_cam0.writer-1", "CONSUMER.CREATE.sluice_cam0.spy.sluice.cam0.link.stream",
		"CONSUMER.DURABLE.CREATE.sluice_cam0.writer-1", "CONSUMER.LIST.sluice_cam0", "CONSUMER.NAMES.sluice_cam0", "CONSUMER.PAUSE.sluice_cam0.writer-1",
		"CONSUMER.UNPIN.sluice_cam0.writer-1", "CONSUMER.RESET.sluice_cam0.writer-1", "CONSUMER.LEADER.STEPDOWN.sluice_cam0.writer-1",
	} {
		all["$JS.API."+nobody] = allowed{}
	}
	for _, wide := range []string{
		"$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.EVENT.>", "$JS.EVENT.ADVISORY.>", "sluice.cam0.link.stream.*", "sluice.*.link.stream.>", "$JS.API.CONSUMER.MSG.NEXT.*.*",
	} {
		all[wide] = allowed{}
	}
	all["sluice.*.link.plain.*"] = allowed{nil, members}
	for _, verb := range []string{"arm", "start", "stop", "pause", "resume"} {
		all["sluice.cam0.control."+verb] = allowed{[]string{"operator"}, []string{"acquire"}}
	}
	return all
}

// TestRoles tries each role on each subject, in both directions.
func TestRoles(t *testing.T) {
	b := start(t, byPassword, false)
	for _, role := range roles {
		nc := b.connect(role)
		refusals := make(chan error, 16)
		nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refusals <- err })
		// A subject that is refused for certain stands behind each attempt: what the broker says before that one's refusal is of
		// the attempt.
		tried := func(what string, attempt func() error) bool {
			t.Helper()
			if err := errors.Join(attempt(), nc.Publish("nobody.may", nil), nc.FlushTimeout(patience)); err != nil {
				t.Fatalf("%s: %s: %v", role, what, err)
			}
			may := true
			for {
				select {
				case err := <-refusals:
					if !errors.Is(err, nats.ErrPermissionViolation) {
						t.Fatalf("%s: %s: %v", role, what, err)
					}
					if strings.Contains(err.Error(), "nobody.may") {
						return may
					}
					may = false
				case <-time.After(patience):
					t.Fatalf("%s: %s: the broker says nothing", role, what)
				}
			}
		}
		for subject, may := range table() {
			if !strings.ContainsAny(subject, "*>") {
				if got := tried("publish "+subject, func() error { return nc.Publish(subject, nil) }); got != slices.Contains(may.publish, role) {
					t.Errorf("%s may publish to %s: %v", role, subject, got)
				}
			}
			if got := tried("subscribe "+subject, func() error { _, err := nc.SubscribeSync(subject); return err }); got != slices.Contains(may.subscribe, role) {
				t.Errorf("%s may subscribe to %s: %v", role, subject, got)
			}
		}
	}
}
