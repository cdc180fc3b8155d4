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
		"sluice.cam0.link.join":              {[]string{"writer", "analyze"}, []string{"acquire"}},
		"sluice.cam0.link.up.writer-1":       {[]string{"writer", "analyze"}, []string{"acquire"}},
		"sluice.cam0.link.down.writer-1":     {[]string{"acquire"}, []string{"writer", "analyze"}},
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
		"$JS.API.STREAM.LIST":                  {},
		"anything":                             {},
		"sluice.cam0.link.jetstream.something": {},
	}
	for _, verb := range []string{"arm", "start", "stop", "pause", "resume"} {
		all["sluice.cam0.control."+verb] = allowed{[]string{"operator"}, []string{"acquire"}}
	}
	return all
}

// TestRoles tries each role on each subject, in both directions.
func TestRoles(t *testing.T) {
	b := start(t)
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
