package e2e_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// ctl runs `sluice ctl CAMERA …` against the station's broker.
func (s *station) ctl(args ...string) programs.Result {
	s.t.Helper()
	return bin.Run(s.t, "sluice", append([]string{"ctl", s.Camera, "--nats", s.url}, args...)...)
}

// must is ctl that has to succeed, with its answer as JSON.
func must[T any](s *station, args ...string) T {
	s.t.Helper()
	res := s.ctl(append(args, "--json")...)
	if res.Code != 0 {
		s.t.Fatalf("ctl %q: exit code %d: %s", args, res.Code, res.Stderr)
	}
	var v T
	res.LastLine(s.t, &v)
	return v
}

// crew starts acquire, two writers and an analyser as somebody without `sluice run` does.
func (s *station) crew(acquire ...string) (all []*programs.Running) {
	s.t.Helper()
	common := []string{"--nats", s.url, "--camera", s.Camera}
	start := func(name string, args ...string) {
		all = append(all, bin.Start(s.t, name, append(slices.Clone(common), args...)...))
	}
	start("acquire", append([]string{"--budget", "32MiB", "--shard-frames", "32", "--require", "writer=2,analyze"}, acquire...)...)
	start("writer", "--name", "disk-a", "--out", s.Out)
	start("writer", "--name", "disk-b", "--out", s.Out)
	start("analyze", "--name", "look")
	s.await("everybody", all[0], func(st bus.Status) bool { return len(st.Members) == 3 })
	return all
}

// TestControl operates processes that were started by hand, over a broker that somebody else runs.
func TestControl(t *testing.T) {
	t.Parallel()
	s := newStation(t, "control")
	all := s.crew("--source", endless)
	acquire := all[0]

	armed := must[bus.Armed](s, "arm", "--request", `{"meta":{"sample":"A7"},"store":"by-hand.ome.zarr","compress":"zstd:1"}`)
	if armed.Spec.Meta["sample"] != "A7" || armed.Spec.Store != "by-hand.ome.zarr" || armed.Spec.Codec != "zstd" || armed.BudgetBytes != 32<<20 ||
		armed.Slots != 256 || armed.SlotBytes != 128<<10 || armed.Reserve != 2 || armed.OnFull != "pause" || len(armed.Members) != 3 {
		t.Errorf("armed: %+v", armed)
	}
	if st := must[bus.Status](s, "status"); st.State != bus.StateWaiting || st.Captured != 0 || st.Run != armed.Spec.Run || st.Goroutines == 0 {
		t.Errorf("status of an armed camera: %s, captured %d", st.State, st.Captured)
	}
	for _, verb := range []string{"pause", "resume"} {
		if res := s.ctl(verb); res.Code != 2 || !strings.Contains(res.Stderr, "waiting") {
			t.Errorf("%s before the start: %+v", verb, res)
		}
	}
	if ack := must[bus.Ack](s, "start"); ack.State != bus.StateRunning || ack.Run != armed.Spec.Run {
		t.Errorf("start: %+v", ack)
	}
	s.durable(acquire, 50)

	// A second one is refused, in each way that there is.
	for _, args := range [][]string{{"start"}, {"arm"}} {
		if res := s.ctl(args...); res.Code != 2 || !oneLine(res.Stderr) || !strings.Contains(res.Stderr, "one run at a time") {
			t.Errorf("a second %s: %+v", args, res)
		}
	}
	if res := s.start("--source", endless, "--frames", "10").Wait(t); res.Code != 2 || !oneLine(res.Stderr) || !strings.Contains(res.Stderr, "already has an acquire") {
		t.Errorf("a second run: %+v", res)
	}

	must[bus.Ack](s, "pause")
	paused := s.await("the pause, and word from each writer", acquire, func(st bus.Status) bool {
		return st.State == bus.StatePaused && st.InFlight == 0 && programs.Member(st, "disk-a").Frames+programs.Member(st, "disk-b").Frames == st.Captured
	})
	s.checkStatus(paused)
	s.checkServices()
	if again := must[bus.Status](s, "status"); again.Captured != paused.Captured || again.State != bus.StatePaused {
		t.Errorf("a paused camera went from %d to %d frames", paused.Captured, again.Captured)
	}
	must[bus.Ack](s, "resume")
	s.durable(acquire, paused.Captured+50)
	must[bus.Ack](s, "stop")
	sum := must[run.Summary](s, "wait")
	if sum.Run != armed.Spec.Run || sum.EndedBy != run.EndedStop || sum.Captured < paused.Captured+50 || sum.Written != sum.Captured || sum.PausedSeconds <= 0 {
		t.Errorf("the summary: %+v", sum)
	}
	bin.Verify(t, sum)
	programs.CheckFrames(t, sum)
	s.NothingLeft()

	// The processes serve the next run as they did the first; of one that is disarmed nothing stays.
	armed = must[bus.Armed](s, "arm", "--request", `{"frames":10,"store":"never.ome.zarr"}`)
	if _, err := os.Stat(armed.Store); err != nil {
		t.Errorf("the store of an armed run: %v", err)
	}
	must[bus.Ack](s, "stop")
	s.await("idleness", acquire, func(st bus.Status) bool { return st.State == bus.StateIdle })
	s.NothingLeft()
	if res := s.ctl("start"); res.Code != 0 {
		t.Errorf("start without arm: %+v", res)
	}
	s.durable(acquire, 20)
	s.signal(syscall.SIGTERM, acquire.PID())
	for _, r := range all[1:] {
		s.signal(syscall.SIGTERM, r.PID())
	}
	for _, r := range all {
		if res := r.Wait(t); res.Code != 0 {
			t.Errorf("exit code %d: %s", res.Code, res.Stderr)
		}
	}
	if _, err := os.Stat(armed.Store); err == nil {
		t.Error("the store of a run that never began is left")
	}
	finished := s.events.Wait(t, patience, "the second run's end", func(e bus.Event) bool {
		return e.Kind == bus.EventFinished && e.Run != sum.Run
	})
	bin.Verify(t, *finished.Summary)
	s.NothingLeft()
}

// TestStartAtOnce is acquire with --start: it ends with its run, and says how it ended.
func TestStartAtOnce(t *testing.T) {
	t.Parallel()
	s := newStation(t, "start")
	all := s.crew("--start", "--source", endless+"&missevery=20", "--frames", "100", "--on-full", "drop")
	if res := all[0].Wait(t); res.Code != 3 || !oneLine(lastLine(res.Stderr)) {
		t.Errorf("acquire ended with %d: %s", res.Code, res.Stderr)
	}
	for _, r := range all[1:] {
		s.signal(os.Interrupt.(syscall.Signal), r.PID())
		if res := r.Wait(t); res.Code != 0 {
			t.Errorf("exit code %d: %s", res.Code, res.Stderr)
		}
	}
	finished := s.events.Wait(t, patience, "the run's end", func(e bus.Event) bool { return e.Kind == bus.EventFinished })
	if sum := finished.Summary; sum.Captured != 100 || sum.Lost != 5 || sum.Written != 95 {
		t.Errorf("captured %d, written %d, lost %d", sum.Captured, sum.Written, sum.Lost)
	}
	bin.Verify(t, *finished.Summary)
	programs.CheckFrames(t, *finished.Summary)
}

// TestRequiredGroup: a run does not begin without a writer.
func TestRequiredGroup(t *testing.T) {
	t.Parallel()
	s := newStation(t, "nobody")
	acquire := bin.Start(t, "acquire", "--nats", s.url, "--camera", s.Camera, "--source", endless, "--member-timeout", "300ms", "--start")
	res := acquire.Wait(t)
	if res.Code != 7 || !strings.Contains(lastLine(res.Stderr), "writer") {
		t.Errorf("without a writer acquire ended with %d: %s", res.Code, res.Stderr)
	}
	s.NothingLeft()
}

// checkStatus holds a status of the running crew against what the design lists.
func (s *station) checkStatus(st bus.Status) {
	s.t.Helper()
	if st.V != 1 || st.Type != bus.TypeStatus || st.Camera != s.Camera || st.Host == "" || st.Process != "acquire" || time.Since(st.Time) > patience ||
		st.Since.IsZero() || st.Reason == "" || st.Software == "" {
		s.t.Errorf("the envelope: %+v, since %s, reason %q, software %q", st.Envelope, st.Since, st.Reason, st.Software)
	}
	if st.Durable != st.Captured || st.Lost != 0 || st.ReadableUntilSeq > st.Durable || st.Rate.Nominal != 200 || st.Geometry == nil || st.Store == "" {
		s.t.Errorf("captured %d, durable %d, lost %d, readable until %d, rate %+v, store %q", st.Captured, st.Durable, st.Lost, st.ReadableUntilSeq, st.Rate, st.Store)
	}
	if b := st.Budget; b.State != bus.BudgetOpen || b.Limit != 32<<20 || b.Peak <= 0 || b.Peak > b.Limit || b.Bytes > b.Peak {
		s.t.Errorf("the budget: %+v", b)
	}
	for _, name := range []string{"disk-a", "disk-b", "look"} {
		m := programs.Member(st, name)
		if m.PID == 0 || m.Host != st.Host || m.Carrier != "shm" || m.State != "live" {
			s.t.Errorf("%s: %+v", name, m)
		}
		switch w := m.Writer; {
		case m.Group == "analyze":
			if m.Policy != "latest" {
				s.t.Errorf("%s: %+v", name, m)
			}
		case w == nil || w.Path == "" || w.FreeBytes == 0 || w.SyncP99NS < w.SyncP50NS || w.DurableP50NS <= 0 || w.DurableP99NS < w.DurableP50NS || w.Direct == (w.Fallback != ""):
			s.t.Errorf("%s: %+v writes %+v", name, m, w)
		}
	}
	// Every field that the design lists is there by its name, those that may be absent left out.
	text, err := json.Marshal(st)
	if err != nil {
		s.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		s.t.Fatal(err)
	}
	for _, name := range []string{"v", "type", "time", "camera", "run", "host", "process", "state", "since", "reason", "captured", "durable",
		"in_flight", "lost", "rate", "budget", "readable_until_seq", "members"} {
		if _, ok := fields[name]; !ok {
			s.t.Errorf("the status has no %s: %v", name, slices.Sorted(maps.Keys(fields)))
		}
	}
}

// checkServices asks every process as any NATS micro client does.
func (s *station) checkServices() {
	s.t.Helper()
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		inbox := nats.NewInbox()
		sub, err := s.nc.SubscribeSync(inbox)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.nc.PublishRequest("$SRV."+verb, inbox, nil); err != nil {
			s.t.Fatal(err)
		}
		var got []string
		for range 4 {
			m, err := sub.NextMsg(patience)
			if err != nil {
				s.t.Fatalf("$SRV.%s: %v after answers of %q", verb, err, got)
			}
			var a service
			if err := json.Unmarshal(m.Data, &a); err != nil {
				s.t.Fatal(err)
			}
			if a.Metadata["camera"] != s.Camera || a.Metadata["pid"] == "" || a.Metadata["host"] == "" {
				s.t.Errorf("$SRV.%s: %s", verb, m.Data)
			}
			got = append(got, a.Name+" "+a.Metadata["process"])
			if a.Name == "sluice-acquire" && verb != "PING" {
				s.checkEndpoints(verb, a)
			}
		}
		slices.Sort(got)
		if want := []string{"sluice-acquire acquire", "sluice-analyze look", "sluice-writer disk-a", "sluice-writer disk-b"}; !slices.Equal(got, want) {
			s.t.Errorf("$SRV.%s: answers of %q, want %q", verb, got, want)
		}
		if err := sub.Unsubscribe(); err != nil {
			s.t.Error(err)
		}
	}
}

// service is what a process answers to $SRV requests.
type service struct {
	Name      string
	Metadata  map[string]string
	Endpoints []endpoint
}

type endpoint struct {
	Subject  string
	Requests int `json:"num_requests"`
}

// checkEndpoints checks that acquire names all control subjects, and has counted their requests.
func (s *station) checkEndpoints(verb string, a service) {
	s.t.Helper()
	for _, v := range bus.Verbs() {
		i := slices.IndexFunc(a.Endpoints, func(e endpoint) bool { return e.Subject == bus.ControlSubject(s.Camera, v) })
		if i < 0 || verb == "STATS" && v == bus.VerbStatus && a.Endpoints[i].Requests == 0 {
			s.t.Errorf("$SRV.%s has no %s, or counts no requests: %+v", verb, v, a.Endpoints)
		}
	}
}

// oneLine reports whether text is one line that says something.
func oneLine(text string) bool {
	return len(text) > 20 && strings.Count(text, "\n") == 1 && strings.HasSuffix(text, "\n")
}

// lastLine is the last line of a text.
func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:] + "\n"
}
