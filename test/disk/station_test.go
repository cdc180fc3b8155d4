package disk_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/disk/faults"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds every wait.
const patience = 90 * time.Second

// station is a station with what its processes say on NATS.
type station struct {
	*programs.Station
	t      *testing.T
	faults string // the folder with the rules for its writers
	url    string
	client *bus.Client

	events       *programs.Messages[bus.Event]
	backpressure *programs.Messages[bus.Backpressure]
	members      *programs.Messages[bus.MemberStatus]
}

// newStation makes a station with a broker of the test's. Its writers' disks fail as the rules say.
func newStation(t *testing.T, p *programs.Programs, camera string, rules ...faults.Rule) *station {
	t.Helper()
	s := &station{Station: programs.NewStation(t, p, "disk-"+camera), t: t, faults: t.TempDir(), url: programs.Broker(t)}
	s.Env = []string{faults.Folder + "=" + s.faults}
	s.rules(rules...)
	s.client = bus.NewClient(programs.Connect(t, s.url), s.Camera)
	s.events = programs.Listen[bus.Event](t, s.url, bus.EventsSubject(s.Camera))
	s.backpressure = programs.Listen[bus.Backpressure](t, s.url, bus.BackpressureSubject(s.Camera))
	s.members = programs.Listen[bus.MemberStatus](t, s.url, bus.StatusSubject(s.Camera))
	return s
}

// rules replaces the rules for the writers' disks.
func (s *station) rules(rules ...faults.Rule) {
	s.t.Helper()
	if err := faults.Set(s.faults, rules...); err != nil {
		s.t.Fatal(err)
	}
}

// done is what the writers did.
func (s *station) done() []faults.Done {
	s.t.Helper()
	list, err := faults.Read(s.faults)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// start starts a run on the station's broker.
func (s *station) start(args ...string) *programs.Running {
	s.t.Helper()
	return s.Launch(append([]string{"--nats", s.url, "--analyzers", "0"}, args...)...)
}

// await asks for the camera's status until it is as wanted, while the run goes on.
func (s *station) await(what string, r *programs.Running, want func(bus.Status) bool) bus.Status {
	s.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		st, err := s.client.Status(ctx, bus.RunRequest{})
		cancel()
		if err == nil && want(st) {
			return st
		}
		select {
		case <-ticker.C:
		case <-r.Done():
			s.t.Fatalf("the run has ended, waited for %s\n%+v", what, r.Wait(s.t))
		case <-limit:
			s.t.Fatalf("no %s after %s: %+v", what, patience, st)
		}
	}
}

// end waits for the end of a run, whose exit code must be want, and returns its account and what it wrote to stderr.
func (s *station) end(r *programs.Running, want int) (run.Summary, string) {
	s.t.Helper()
	res := r.Wait(s.t)
	if res.Code != want {
		s.t.Fatalf("the run ended with %d, want %d\nstdout:\n%s\nstderr:\n%s", res.Code, want, res.Stdout, res.Stderr)
	}
	var sum run.Summary
	res.LastLine(s.t, &sum)
	return sum, res.Stderr
}

// sound checks a run's store: `sluice verify` is content, and every frame is what the camera made or in a ledger.
func (s *station) sound(sum run.Summary) {
	s.t.Helper()
	if sum.Written+sum.Lost != sum.Captured || sum.Captured == 0 {
		s.t.Errorf("captured %d, written %d, lost %d", sum.Captured, sum.Written, sum.Lost)
	}
	bin.Verify(s.t, sum)
	programs.CheckFrames(s.t, sum)
}

// kinds are the kinds of the events so far, in order.
func (s *station) kinds() (list []bus.Kind) {
	for _, e := range s.events.All() {
		list = append(list, e.Kind)
	}
	return list
}

// told reports whether an event of the kind was published.
func (s *station) told(k bus.Kind) bool { return slices.Contains(s.kinds(), k) }
