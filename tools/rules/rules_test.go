// Package rules_test holds deploy/prometheus and the queries of deploy/grafana against Prometheus itself: its own readers
// must take them, and its own engine must find each alert in series on which it is to fire, and not in others. It is a
// module of its own, since Prometheus brings a hundred others.
package rules_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/discovery/dns" // the configuration names it
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const deploy = "../../deploy/"

func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(deploy+"prometheus/rules.yml", false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	found := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s says neither what it is about nor how bad it is", r.Alert)
			}
			found[r.Alert] = r
		}
	}
	return found
}

func TestConfiguration(t *testing.T) {
	c, err := config.LoadFile(deploy+"prometheus/prometheus.yml", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := c.GetScrapeConfigs()
	if err != nil || len(jobs) != 1 || jobs[0].JobName != "sluice" || len(c.RuleFiles) != 1 || !strings.HasSuffix(c.RuleFiles[0], "prometheus/rules.yml") {
		t.Errorf("jobs %v, rules %v, %v", jobs, c.RuleFiles, err)
	}
}

// TestDashboard: every query is one, whatever is chosen.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(deploy + "grafana/dashboards/sluice.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries++
			q := strings.NewReplacer("$camera", "cam0|cam1", "$__rate_interval", "1m").Replace(target.Expr)
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(q); err != nil || strings.Contains(q, "$") {
				t.Errorf("%s: %s: %v", p.Title, q, err)
			}
		}
	}
	if queries < 20 {
		t.Errorf("%d queries", queries)
	}
}

// TestAlerts has each alert fire on one history and stay silent on another. The series are as the processes have them, a
// value every five seconds for five minutes.
func TestAlerts(t *testing.T) {
	rules := alerts(t)
	const lost = `sluice_frames_lost_total{camera="cam0",process="acquire",reason="dropped"} `
	const full = `sluice_budget_state{camera="cam0",process="acquire",state="full"} `
	const free = `sluice_writer_disk_free_bytes{camera="cam0",process="writer-1"} `
	const stored = `sluice_writer_stored_bytes_total{camera="cam0",process="writer-1"} `
	const event = `sluice_events_total{camera="cam0",process="acquire",kind=`
	const member = `sluice_member_state{camera="cam0",process="acquire",member="writer-1",group="writer",state=`
	const up = `up{job="sluice",instance="10.0.0.1:9464"} `
	const told = `sluice_status_timestamp_seconds{camera="cam0",process="acquire"} `
	tested := map[string]bool{}
	for _, c := range []struct {
		alert  string
		fires  bool
		series []string
	}{
		{"SluiceFramesLost", true, []string{lost + "0x50 3x9"}},
		{"SluiceFramesLost", true, []string{lost + "7x50 1x9"}}, // acquire was started again, and lost one
		{"SluiceFramesLost", false, []string{lost + "3x60"}},
		{"SluiceBudgetFull", true, []string{full + "0x50 1x9"}},
		{"SluiceBudgetFull", false, []string{full + "0x50 1 0 1 0 1 0 1 0 1"}},
		{"SluiceBudgetFull", false, []string{full + "0x58 1"}},
		// 100 MB/s, and less than ten minutes of them; beside another writer on the same disk; and enough.
		{"SluiceDiskFull", true, []string{free + "50000000000x60", stored + "0+500000000x60"}},
		{"SluiceDiskFull", true, []string{
			free + "100000000000x60", stored + "0+500000000x60", strings.ReplaceAll(stored, "writer-1", "writer-2") + "0+500000000x60",
		}},
		{"SluiceDiskFull", false, []string{free + "100000000000x60", stored + "0+500000000x60"}},
		{"SluiceDiskFull", false, []string{free + "1000x60", stored + "5x60"}}, // nothing is written
		{"SluiceCameraStalled", true, []string{event + `"camera_stalled"} 0x50 1x9`}},
		{"SluiceCameraStalled", true, []string{event + `"camera_failed"} 0x50 1x9`}},
		{"SluiceCameraStalled", false, []string{event + `"started"} 0x50 1x9`}},
		{"SluiceMemberLost", true, []string{event + `"member_lost"} 0x50 1x9`}},
		{"SluiceMemberLost", false, []string{event + `"member_joined"} 0x50 1x9`}},
		{"SluiceMemberHung", true, []string{member + `"hung"} 0x50 1x9`}},
		{"SluiceMemberHung", true, []string{member + `"failed"} 0x50 1x9`}},
		{"SluiceMemberHung", false, []string{member + `"live"} 0x50 1x9`}},
		{"SluiceDown", true, []string{up + "1x50 0x9"}},
		{"SluiceDown", false, []string{up + "1x56 0x3"}},
		{"SluiceStuck", true, []string{told + "0+5x50 250x9"}},
		{"SluiceStuck", false, []string{told + "0+5x60"}},
	} {
		r, ok := rules[c.alert]
		if !ok {
			t.Fatalf("there is no alert %s", c.alert)
		}
		tested[c.alert] = tested[c.alert] || c.fires
		if got := fires(t, r, c.series); got != c.fires {
			t.Errorf("%s on %v fires: %v", c.alert, c.series, got)
		}
	}
	for name := range rules {
		if !tested[name] {
			t.Errorf("nothing makes %s fire", name)
		}
	}
}

// fires reports whether an alert is firing after so much history: its expression has had a value for as long as it asks.
func fires(t *testing.T, r rulefmt.Rule, series []string) bool {
	t.Helper()
	store := promqltest.LoadedStorage(t, "load 5s\n  "+strings.Join(series, "\n  ")+"\n")
	engine := promqltest.NewTestEngine(t, false, 0, 1_000_000)
	const now, every = 295 * time.Second, 5 * time.Second
	for at := now - time.Duration(r.For); at <= now; at += every {
		q, err := engine.NewInstantQuery(t.Context(), store, nil, r.Expr, time.Unix(0, 0).Add(at))
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		result := q.Exec(t.Context())
		v, err := result.Vector()
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		if len(v) == 0 {
			return false
		}
	}
	return true
}
