package metrics_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/metrics"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves a board until the test ends.
func serve(t *testing.T, b *metrics.Board) *metrics.Server {
	t.Helper()
	s, err := metrics.Start(t.Context(), "127.0.0.1:0", b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func get(t *testing.T, s *metrics.Server, path string) (int, string) {
	t.Helper()
	r, err := http.Get(s.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// scrape returns the lines of a scrape by their series, without what is of the process itself.
func scrape(t *testing.T, s *metrics.Server) map[string]string {
	t.Helper()
	code, text := get(t, s, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Errorf("not Prometheus' format: %v", err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok && strings.HasPrefix(series, "sluice_") {
			lines[series+"}"] = value
		}
	}
	return lines
}

func want(t *testing.T, lines map[string]string, series, value string) {
	t.Helper()
	if got := lines[series]; got != value {
		t.Errorf("%s is %q, want %q", series, got, value)
	}
}

// TestRunsAddUp: counters go on from run to run, whatever part of them is seen; what is of a run begins anew.
func TestRunsAddUp(t *testing.T) {
	b := metrics.NewBoard("cam0", true)
	s := serve(t, b)
	one, two, three := frames.NewRunID(), frames.NewRunID(), frames.NewRunID()
	check := func(captured, dropped, lost string) {
		t.Helper()
		lines := scrape(t, s)
		want(t, lines, `sluice_frames_captured_total{camera="cam0",process="acquire"}`, captured)
		want(t, lines, `sluice_frames_lost_total{camera="cam0",process="acquire",reason="dropped"}`, dropped)
		want(t, lines, `sluice_run_lost_frames{camera="cam0",process="acquire"}`, lost)
	}
	status := func(id frames.RunID, captured, dropped uint64, last *run.Summary) bus.Status {
		st := bus.Status{State: bus.StateRunning, Captured: captured, Lost: dropped, LostByReason: map[string]uint64{"dropped": dropped}, LastRun: last}
		st.Run = id
		return st
	}
	ended := func(id frames.RunID, captured, dropped uint64) *run.Summary {
		return &run.Summary{Run: id, Captured: captured, LostByReason: map[string]uint64{"dropped": dropped}}
	}
	b.Camera(bus.Status{})
	check("0", "0", "")
	b.Camera(status(one, 10, 2, nil))
	check("10", "2", "2")
	b.Camera(bus.Status{}) // an acquire that was started again, and has not found it yet
	check("10", "2", "")
	b.Camera(status(one, 12, 2, nil))
	check("12", "2", "2")
	b.Camera(status(frames.RunID{}, 0, 0, ended(one, 20, 5)))
	check("20", "5", "")
	b.Camera(status(three, 1, 0, ended(two, 100, 50))) // a run that no status told of
	check("121", "55", "0")
	b.Camera(status(three, 7, 1, ended(three, 7, 1))) // told as ended while it is still there
	check("127", "56", "1")
}

// TestWorkAddsUp is the same of a member, whose numbers begin anew with a run.
func TestWorkAddsUp(t *testing.T) {
	b := metrics.NewBoard("cam0", true)
	s := serve(t, b)
	one, two := frames.NewRunID(), frames.NewRunID()
	for _, step := range []struct {
		run    frames.RunID
		frames uint64
		stored uint64 // 0 for no disk
		want   [2]string
	}{
		{frames.RunID{}, 0, 0, [2]string{"0", "0"}},
		{one, 10, 100, [2]string{"10", "100"}},
		{frames.RunID{}, 12, 0, [2]string{"12", "100"}},
		{one, 12, 120, [2]string{"12", "120"}},
		{frames.RunID{}, 12, 0, [2]string{"12", "120"}},
		{two, 15, 130, [2]string{"27", "250"}},
		{two, 3, 20, [2]string{"30", "270"}}, // the process was started again
	} {
		m := bus.MemberStatus{Group: "writer", Work: bus.Work{Frames: step.frames}}
		m.Process, m.Run = "writer-1", step.run
		if step.stored > 0 {
			m.Writer = &bus.WriterStatus{StoredBytes: step.stored}
		}
		b.Member(m)
		lines := scrape(t, s)
		want(t, lines, `sluice_work_frames_total{camera="cam0",group="writer",process="writer-1"}`, step.want[0])
		want(t, lines, `sluice_writer_stored_bytes_total{camera="cam0",process="writer-1"}`, step.want[1])
	}
}

func TestHistogram(t *testing.T) {
	b := metrics.NewBoard("cam0", true)
	s := serve(t, b)
	var h run.Histogram
	h.Add(time.Second)
	h.Add(time.Hour)
	b.Camera(bus.Status{Times: &h})
	lines := scrape(t, s)
	for le, n := range map[string]string{"0.536870912": "0", "1.073741824": "1", "137.438953472": "1", "+Inf": "2"} {
		want(t, lines, `sluice_frame_latency_seconds_bucket{camera="cam0",process="acquire",le="`+le+`"}`, n)
	}
	want(t, lines, `sluice_frame_latency_seconds_count{camera="cam0",process="acquire"}`, "2")
	want(t, lines, `sluice_frame_latency_seconds_sum{camera="cam0",process="acquire"}`, "3601")
	b.Camera(bus.Status{Times: &run.Histogram{Counts: []uint64{1}}})
	if v, ok := scrape(t, s)[`sluice_frame_latency_seconds_count{camera="cam0",process="acquire"}`]; ok {
		t.Errorf("a histogram of another form counts %s", v)
	}
}

// TestStrangers: whoever may publish a status can't make the scrape fail, nor grow without bound.
func TestStrangers(t *testing.T) {
	b := metrics.NewBoard("cam0", false)
	s := serve(t, b)
	message := func(v any) {
		t.Helper()
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Message(text)
	}
	member := func(camera, process string) bus.MemberStatus {
		m := bus.MemberStatus{Group: "writer"}
		m.Type, m.Camera, m.Process = bus.TypeMember, camera, process
		return m
	}
	message(member("cam0", "writer-1"))
	for _, bad := range []bus.MemberStatus{member("cam0", "acquire"), member("cam0", "Bad Name"), member("cam1", "writer-2"), member("cam0", "")} {
		message(bad)
	}
	b.Message([]byte("{"))
	for i := range 1000 {
		message(member("cam0", fmt.Sprintf("x-%d", i)))
	}
	st := bus.Status{Software: "a\xffb", Members: make([]bus.Member, 1000)} // all of one name
	st.Type, st.Camera = bus.TypeStatus, "cam0"
	message(st)
	lines := scrape(t, s)
	joined := 0
	for series := range lines {
		if strings.HasPrefix(series, "sluice_joined{") {
			joined++
		}
	}
	if joined != 256 {
		t.Errorf("%d members", joined)
	}
	want(t, lines, `sluice_joined{camera="cam0",group="writer",process="writer-1"}`, "0")
	want(t, lines, `sluice_frames_captured_total{camera="cam0",process="acquire"}`, "0")
}

func TestHealth(t *testing.T) {
	b := metrics.NewBoard("cam0", true)
	s := serve(t, b)
	now := time.Now()
	old := now.Add(-time.Hour)
	check := func(code int, reason string) metrics.Health {
		t.Helper()
		got, text := get(t, s, "/healthz")
		var h metrics.Health
		if err := json.Unmarshal([]byte(text), &h); err != nil || got != code || h.Reason != reason || h.OK != (code == http.StatusOK) {
			t.Errorf("%d %s, %v; want %d %s", got, text, err, code, reason)
		}
		return h
	}
	check(http.StatusServiceUnavailable, "no status yet")
	m := bus.MemberStatus{Group: "writer"}
	m.Process = "writer-1"
	b.Member(m)
	check(http.StatusServiceUnavailable, "acquire does not have it as a member")
	m.Joined = true
	b.Member(m)
	check(http.StatusOK, "")
	m.Writer, m.LastSync = &bus.WriterStatus{}, &old
	b.Member(m) // nothing to write for an hour
	if h := check(http.StatusOK, ""); h.SyncAgeSeconds == nil || *h.SyncAgeSeconds < 3600 {
		t.Errorf("%+v", h)
	}
	m.Blocked = 1
	b.Member(m)
	check(http.StatusServiceUnavailable, "the disk does not answer")
	m.LastSync = &now
	b.Member(m)
	check(http.StatusOK, "")
	b.Camera(bus.Status{State: bus.StateFault, Reason: "why"})
	check(http.StatusServiceUnavailable, "fault: why")
	b.Camera(bus.Status{State: bus.StateIdle})
	check(http.StatusOK, "")
	ail := "no broker"
	b.Watch(func() string { return ail })
	check(http.StatusServiceUnavailable, "no broker")
	ail = ""
	check(http.StatusOK, "")
}

// TestOnlyWhatIsNeeded: nothing else is served, and who asks too often is told to wait.
func TestOnlyWhatIsNeeded(t *testing.T) {
	s := serve(t, metrics.NewBoard("cam0", true))
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x"} {
		if code, _ := get(t, s, path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	if r, err := http.Post(s.URL()+"/metrics", "text/plain", strings.NewReader("x")); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("%v, %v", r, err)
	} else {
		r.Body.Close()
	}
	refused := false
	for range 1000 {
		if code, _ := get(t, s, "/healthz"); code == http.StatusTooManyRequests {
			refused = true
			break
		}
	}
	if !refused {
		t.Error("a thousand requests are all answered")
	}
}

// TestCrowd: connections that say nothing get no more places than there are, and are cut off, so that others are heard.
func TestCrowd(t *testing.T) {
	s := serve(t, metrics.NewBoard("cam0", true))
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	limit := time.Now().Add(time.Minute)
	for {
		r, err := http.Get(s.URL() + "/healthz")
		if err == nil {
			r.Body.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("nobody is heard behind a crowd that says nothing: %v", err)
		}
	}
}

func TestTakenPort(t *testing.T) {
	s := serve(t, metrics.NewBoard("cam0", true))
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	for address, reason := range map[string]string{u.Host: "another process listens there", "192.0.2.1:1": "cannot assign requested address"} {
		_, err = metrics.Start(t.Context(), config.Address(address), metrics.NewBoard("cam0", true), slog.New(slog.DiscardHandler))
		if !errors.Is(err, metrics.ErrListen) || exit.Code(err) != exit.Usage || !strings.HasPrefix(err.Error(), "--metrics: "+address+": ") ||
			!strings.HasSuffix(err.Error(), reason) {
			t.Errorf("%v", err)
		}
	}
	if s, err := metrics.Start(t.Context(), "", metrics.NewBoard("cam0", true), nil); s != nil || err != nil || s.Close() != nil {
		t.Errorf("%v, %v", s, err)
	}
}
