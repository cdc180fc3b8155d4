package operator_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/speed"
	"github.com/sluicedaq/sluice/test/programs"
)

// forecastOf is what `sluice run` says of a run's budget, and the armed event that the store keeps.
func forecastOf(t *testing.T, cache string) (string, *bus.Forecast) {
	t.Helper()
	cmd := bin.Command(t.Context(), "sluice", "run", "--camera", unique("op-foresee"), "--out", t.TempDir(), "--json", "--frames", "5", "--analyzers", "0",
		"--source", "sim:?width=256&height=256&dtype=uint16&fps=50")
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+t.TempDir(), "XDG_CACHE_HOME="+cache)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var sum struct{ Store string }
	programs.Result{Stdout: stdout.String()}.LastLine(t, &sum)
	text, err := os.ReadFile(filepath.Join(sum.Store, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e bus.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == bus.EventArmed {
			if f := e.Armed.Forecast; f != nil && strings.Count(stderr.String(), f.Text+"\n") != 1 {
				t.Errorf("%q is not said once:\n%s", f.Text, stderr.String())
			}
			return stderr.String(), e.Armed.Forecast
		}
	}
	t.Fatal("the store has no armed event")
	return "", nil
}

// TestForecast: a run says whether the disk keeps up, by what a bench has found; without one, or with a file that is
// damaged, only how long the budget bridges.
func TestForecast(t *testing.T) {
	cache := t.TempDir()
	said, f := forecastOf(t, cache)
	if f == nil || f.KeepsUp != nil || f.StandstillSeconds <= 0 || !strings.Contains(said, "in which the disk takes nothing") {
		t.Errorf("with nothing known: %+v\n%s", f, said)
	}

	b := startBench(t, t.TempDir(), "disk", "--size", "256MiB", "--pairs", "1")
	if r := b.Wait(t); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	known := strings.TrimPrefix(b.env[1], "XDG_CACHE_HOME=")
	said, f = forecastOf(t, known)
	if f == nil || f.KeepsUp == nil || !*f.KeepsUp || f.DiskKnown != speed.FromBench || !strings.Contains(said, "at 50 frames/s (6.6 MB a second) the disk keeps up: it took ") {
		t.Errorf("after a bench: %+v\n%s", f, said)
	}

	if err := os.WriteFile(filepath.Join(known, "sluice", "speed.json"), []byte("{\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, f = forecastOf(t, known); f == nil || f.KeepsUp != nil {
		t.Errorf("with a damaged file: %+v", f)
	}

	slow := t.TempDir()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if err := speed.Open(filepath.Join(slow, "sluice", "speed.json"), host).Note(slow, "none", 1<<17, 1<<17, speed.FromRun); err != nil {
		t.Fatal(err)
	}
	said, f = forecastOf(t, slow)
	if f == nil || f.KeepsUp == nil || *f.KeepsUp || f.SecondsToFull == nil || !strings.Contains(said, "the disk does not keep up, and the budget is enough for this run's 100ms: it took 1 frames/s") {
		t.Errorf("with a slow disk: %+v\n%s", f, said)
	}
}
