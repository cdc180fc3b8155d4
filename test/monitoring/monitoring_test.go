package monitoring_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/test/programs"
)

const source = "sim:?width=256&height=256&dtype=uint8&fps=200&pattern=hash"

// anything is any message of the status subject.
type anything struct {
	bus.Envelope
	raw json.RawMessage
}

// UnmarshalJSON keeps the text, for the type that it is of.
func (a *anything) UnmarshalJSON(b []byte) error {
	a.raw = append(a.raw, b...)
	return json.Unmarshal(b, &a.Envelope)
}

// crew is acquire, a writer and an analyser on a broker of the test's.
type crew struct {
	*programs.Station
	url                    string
	acquire, writer, other *programs.Running
	statuses               *programs.Messages[anything]
	client                 *bus.Client
}

func start(t *testing.T, name string) *crew {
	t.Helper()
	return startOn(t, name, programs.Broker(t))
}

// startOn is start on a broker that is there.
func startOn(t *testing.T, name, url string) *crew {
	t.Helper()
	c := &crew{Station: programs.NewStation(t, bin, name), url: url}
	c.statuses = programs.Listen[anything](t, c.url, bus.StatusSubject(c.Camera))
	c.client = bus.NewClient(programs.Connect(t, c.url), c.Camera)
	common := []string{"--nats", c.url, "--camera", c.Camera, "--metrics", "127.0.0.1:0"}
	launch := func(program string, args ...string) *programs.Running {
		return bin.Start(t, program, append(args, common...)...)
	}
	c.writer = launch("writer", "--name", "writer-1", "--out", c.Out)
	c.other = launch("analyze", "--name", "analyze-1")
	c.acquire = launch("acquire", "--source", source, "--budget", "32MiB", "--require", "writer,analyze", "--shard-frames", "64")
	return c
}

// latest is the newest status of a process that is as wanted.
func latest[T any](t *testing.T, c *crew, process string, want func(T) bool) T {
	t.Helper()
	m := c.statuses.Wait(t, patience, "a status of "+process, func(a anything) bool {
		var v T
		return a.Process == process && json.Unmarshal(a.raw, &v) == nil && want(v)
	})
	var v T
	if err := json.Unmarshal(m.raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSameNumbers: what each process shows is what it says on the status subject.
func TestSameNumbers(t *testing.T) {
	c := start(t, "numbers")
	eventually(t, "acquire has both", func() bool {
		st, err := c.client.Status(t.Context(), bus.RunRequest{})
		return err == nil && len(st.Members) == 2
	})
	if _, err := c.client.Start(t.Context(), bus.RunRequest{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "300 frames", func() bool {
		st, err := c.client.Status(t.Context(), bus.RunRequest{})
		return err == nil && st.Durable > 300
	})
	if _, err := c.client.Pause(t.Context(), bus.RunRequest{}); err != nil {
		t.Fatal(err)
	}
	acquire, writer, analyze := listens(t, c.acquire), listens(t, c.writer), listens(t, c.other)
	still := latest(t, c, "acquire", func(s bus.Status) bool {
		return s.State == bus.StatePaused && s.InFlight == 0 && s.Captured == s.Durable+s.Lost && s.Rate.Measured == 0
	})
	id := still.Run
	// The next status has the same, but for what grows with time: the scrape may be of either.
	camera := func() families {
		f := scrape(t, acquire)
		f.same(t, float64(still.Captured), "sluice_frames_captured_total", "camera="+c.Camera, "process=acquire")
		return f
	}()
	for name, want := range map[string]float64{
		"sluice_frames_durable_total": float64(still.Durable), "sluice_run_captured_frames": float64(still.Captured),
		"sluice_run_durable_frames": float64(still.Durable), "sluice_run_in_flight_frames": 0, "sluice_run_lost_frames": float64(still.Lost),
		"sluice_run_readable_frames": float64(still.ReadableUntilSeq), "sluice_budget_limit_bytes": float64(still.Budget.Limit),
		"sluice_budget_peak_bytes": float64(still.Budget.Peak), "sluice_run_frame_bytes": 65536, "sluice_run_nominal_frames_per_second": 200,
		"sluice_frame_latency_seconds": float64(still.Latency.Frames), "sluice_restarts_total": float64(still.Restarts),
		"sluice_budget_throttled_seconds_total": still.Budget.ThrottledSeconds,
	} {
		camera.same(t, want, name, "camera="+c.Camera, "process=acquire")
	}
	camera.same(t, 1, "sluice_camera_state", "state=paused")
	camera.same(t, 0, "sluice_camera_state", "state=running")
	camera.same(t, 1, "sluice_budget_state", "state="+string(still.Budget.State))
	camera.same(t, 1, "sluice_run_info", "run="+id.String())
	camera.same(t, 1, "sluice_build_info", "version="+still.Software)
	camera.same(t, float64(still.Events[bus.EventStarted]), "sluice_events_total", "kind=started")
	camera.same(t, 1, "sluice_members", "group=writer")
	camera.same(t, 1, "sluice_member_state", "member=analyze-1", "group=analyze", "state=live")
	camera.same(t, 0, "sluice_member_held_bytes", "member=writer-1")
	for reason, n := range still.LostByReason {
		camera.same(t, float64(n), "sluice_frames_lost_total", "reason="+reason)
	}
	for _, k := range refusal.Kinds() {
		if _, ok := camera.value("sluice_refused_total", "kind="+string(k)); !ok {
			t.Errorf("nothing about refusals of the kind %s", k)
		}
	}

	w := latest(t, c, "writer-1", func(s bus.MemberStatus) bool { return s.Run == id && s.Frames == still.Durable })
	disk := scrape(t, writer)
	disk.same(t, float64(w.Frames), "sluice_work_frames_total", "process=writer-1", "group=writer")
	disk.same(t, float64(w.Bytes), "sluice_work_bytes_total")
	disk.same(t, float64(w.Writer.StoredBytes), "sluice_writer_stored_bytes_total")
	disk.same(t, 1, "sluice_joined")
	disk.same(t, float64(w.Frames), "sluice_writer_durable_latency_seconds")
	if n, _ := disk.value("sluice_writer_sync_seconds"); n == 0 {
		t.Error("no syncs were counted")
	}
	a := latest(t, c, "analyze-1", func(s bus.MemberStatus) bool { return s.Run == id && s.Frames > 0 && s.Frames == still.Analyzed })
	spectra := scrape(t, analyze)
	spectra.same(t, float64(a.Frames), "sluice_work_frames_total", "process=analyze-1", "group=analyze")
	camera.same(t, float64(still.Analyzed)/float64(still.Captured), "sluice_run_analysis_coverage_ratio")

	c.services(t)
	for _, url := range []string{acquire, writer, analyze} {
		if text := get(t, strings.TrimSuffix(url, "/metrics")+"/healthz"); !strings.Contains(text, `"ok":true`) {
			t.Errorf("%s: %s", url, text)
		}
	}
	if _, err := c.client.Stop(t.Context(), bus.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	over := latest(t, c, "acquire", func(s bus.Status) bool { return s.LastRun != nil && s.LastRun.Run == id })
	eventually(t, "the counters stay after the run", func() bool {
		f := scrape(t, acquire)
		n, _ := f.value("sluice_frames_captured_total")
		_, in := f.value("sluice_run_captured_frames")
		return n == float64(over.LastRun.Captured) && !in
	})
	c.asked(t, camera, disk, spectra)
}

// services checks that each process answers $SRV.PING, INFO and STATS, and says who it is.
func (c *crew) services(t *testing.T) {
	t.Helper()
	nc := programs.Connect(t, c.url)
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		found := map[string]string{}
		in := nc.NewRespInbox()
		sub, err := nc.SubscribeSync(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest("$SRV."+verb, in, nil); err != nil {
			t.Fatal(err)
		}
		for len(found) < 3 {
			m, err := sub.NextMsg(patience)
			if err != nil {
				t.Fatalf("%s: %v, after %v", verb, err, found)
			}
			var who struct {
				micro.ServiceIdentity
				Type      string                 `json:"type"`
				Endpoints []*micro.EndpointStats `json:"endpoints"`
			}
			if err := json.Unmarshal(m.Data, &who); err != nil {
				t.Fatal(err)
			}
			if who.Metadata["camera"] == c.Camera {
				found[who.Metadata["process"]] = who.Name
			}
			if pid, err := strconv.Atoi(who.Metadata["pid"]); err != nil || pid == 0 || who.Metadata["host"] == "" || who.Metadata["software"] == "" ||
				!strings.HasPrefix(who.Type, "io.nats.micro.v1."+strings.ToLower(verb)) {
				t.Errorf("%s: %s", verb, m.Data)
			}
			if verb == "STATS" && who.Name == "sluice-acquire" && len(who.Endpoints) != len(bus.Verbs()) {
				t.Errorf("acquire has %d endpoints", len(who.Endpoints))
			}
		}
		if want := map[string]string{"acquire": "sluice-acquire", "writer-1": "sluice-writer", "analyze-1": "sluice-analyze"}; !reflect.DeepEqual(found, want) {
			t.Errorf("%s: %v", verb, found)
		}
	}
}

var (
	named     = regexp.MustCompile(`\bsluice_[a-z_]+`)
	histogram = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// asked checks that every metric that the dashboard and the rules name is in a scrape, and that every scrape keeps
// Prometheus' conventions.
func (c *crew) asked(t *testing.T, scrapes ...families) {
	t.Helper()
	all := families{}
	for _, f := range scrapes {
		maps.Copy(all, f)
	}
	for name := range all {
		if kind := all[name].GetType().String(); strings.HasPrefix(name, "sluice_") && (kind == "COUNTER") != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
	for _, path := range []string{"deploy/grafana/dashboards/sluice.json", "deploy/prometheus/rules.yml"} {
		text, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, name := range named.FindAllString(string(text), -1) {
			names[name] = true
		}
		if len(names) < 5 {
			t.Errorf("%s names %d metrics", path, len(names))
		}
		for name := range names {
			if all[name] == nil && all[histogram.ReplaceAllString(name, "")] == nil {
				t.Errorf("%s names %s, which no process has", path, name)
			}
		}
	}
}

// TestRunShowsAll: `sluice run` shows its processes at one address, and its own end is not held up by who asks.
func TestRunShowsAll(t *testing.T) {
	s := programs.NewStation(t, bin, "one")
	r := s.Launch("--source", source, "--duration", "6s", "--metrics", "127.0.0.1:0", "--budget", "32MiB")
	url := listens(t, r)
	var f families
	eventually(t, "all processes are shown, and frames", func() bool {
		f = scrape(t, url)
		n, _ := f.value("sluice_run_durable_frames", "process=acquire")
		w, _ := f.value("sluice_work_frames_total", "process=writer-1")
		a, _ := f.value("sluice_work_frames_total", "process=analyze-1")
		return n > 0 && w > 0 && a > 0
	})
	// The same port is nobody else's.
	at := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
	for _, args := range [][]string{
		{"sluice", "run", "--source", source, "--camera", "taken", "--frames", "1", "--out", t.TempDir()},
		{"acquire", "--camera", "taken"}, {"analyze", "--camera", "taken"}, {"writer", "--camera", "taken", "--out", t.TempDir()},
	} {
		res := bin.Run(t, args[0], append(args[1:], "--metrics", at)...)
		want := args[0] + ": --metrics: " + at + ": another process listens there\n"
		if res.Code != 2 || res.Stderr != want {
			t.Errorf("%q: %d, %q; want %q", args, res.Code, res.Stderr, want)
		}
	}
	if res := r.Wait(t); res.Code != 0 {
		t.Errorf("%d: %s", res.Code, res.Stderr)
	}
}
