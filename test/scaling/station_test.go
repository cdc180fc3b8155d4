package scaling_test

import (
	"context"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// terminate asks a program to go.
const terminate = syscall.SIGTERM

// limit bounds every wait.
const limit = 2 * time.Minute

// station is a camera whose members come and go.
type station struct {
	*programs.Station
	t       *testing.T
	url     string // of the broker
	group   string // of the members that come and go
	link    string
	client  *bus.Client
	events  *programs.Messages[bus.Event]
	work    *work
	acquire *programs.Running
	members map[string]*programs.Running
	phases  []phase
}

// phase is a time in which the same members were there: those frames were captured meanwhile.
type phase struct {
	members    []string
	begin, end uint64
}

func newStation(t *testing.T, camera, group, link string) *station {
	t.Helper()
	s := &station{
		Station: programs.NewStation(t, bin, camera), t: t, group: group, link: link, members: map[string]*programs.Running{},
		url: programs.BrokerOf(t, server.Options{JetStream: true, StoreDir: t.TempDir()}),
	}
	s.client = bus.NewClient(programs.Connect(t, s.url), s.Camera)
	s.events = programs.Listen[bus.Event](t, s.url, bus.EventsSubject(s.Camera))
	s.work = watch(t, s.url, s.Camera)
	return s
}

// start starts a process of the station.
func (s *station) start(program string, args ...string) *programs.Running {
	s.t.Helper()
	return bin.Start(s.t, program, append([]string{"--nats", s.url, "--camera", s.Camera}, args...)...)
}

// join starts members of the group.
func (s *station) join(names ...string) {
	s.t.Helper()
	for _, name := range names {
		args := []string{"--name", name, "--link", s.link}
		if s.group == "writer" {
			args = append(args, "--out", s.Out)
		}
		s.members[name] = s.start(s.group, args...)
	}
}

// leave asks members to go, and waits until they have: the run goes on.
func (s *station) leave(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.members[name].Signal(s.t, terminate)
	}
	for _, name := range names {
		if r := s.members[name].Wait(s.t); r.Code != 0 {
			s.t.Fatalf("%s ended with %d\n%s", name, r.Code, r.Stderr)
		}
		delete(s.members, name)
	}
	if st := s.await("the run goes on", func(bus.Status) bool { return true }); st.State != bus.StateRunning && st.State != bus.StatePaused {
		s.t.Fatalf("the camera is %s", st.State)
	}
}

// leaveAll asks those to go that are left when the run is over.
func (s *station) leaveAll() {
	s.t.Helper()
	for name, m := range s.members {
		m.Signal(s.t, terminate)
		if r := m.Wait(s.t); r.Code != 0 {
			s.t.Errorf("%s ended with %d\n%s", name, r.Code, r.Stderr)
		}
	}
}

// kill kills a member.
func (s *station) kill(name string) {
	s.t.Helper()
	s.members[name].Signal(s.t, syscall.SIGKILL)
	s.members[name].Wait(s.t)
	delete(s.members, name)
}

// await asks for the camera's status until it is as wanted.
func (s *station) await(what string, want func(bus.Status) bool) (found bus.Status) {
	s.t.Helper()
	programs.Eventually(s.t, limit, what, func() bool {
		select {
		case <-s.acquire.Done():
			s.t.Fatalf("acquire has ended: waiting for %s\n%s", what, s.acquire.Said())
		default:
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		st, err := s.client.Status(ctx, bus.RunRequest{})
		found = st
		return err == nil && want(st)
	})
	return found
}

// stay lets the members that are there work until enough frames that were captured after the last change are durable, and
// each member has done some of them.
func (s *station) stay() {
	s.t.Helper()
	p := phase{}
	st := s.await("the members are those that are there", func(st bus.Status) bool {
		p.members = nil
		for _, m := range st.Members {
			if m.Group == s.group {
				p.members = append(p.members, m.Name)
				if m.State != bus.MemberLive || m.Carrier == "" {
					return false
				}
			}
		}
		slices.Sort(p.members)
		return len(p.members) == len(s.members) && st.State == bus.StateRunning && s.ready(st)
	})
	p.begin = st.Captured
	st = s.await("each member has done its part", func(st bus.Status) bool {
		return st.Durable >= p.begin+enough && s.work.shared(p.members, p.begin+perShard)
	})
	p.end = st.Durable
	s.phases = append(s.phases, p)
}

// ready reports whether every member has agreed to the run: those of writers have a path then.
func (s *station) ready(st bus.Status) bool {
	for name := range s.members {
		m := programs.Member(st, name)
		if s.group == "writer" && (m.Writer == nil || m.Writer.Path == "") {
			return false
		}
		if s.group == "analyze" && m.BufferBytes == 0 {
			return false
		}
	}
	return true
}

// record stops the run. Every frame must be durable.
func (s *station) record() run.Summary {
	s.t.Helper()
	if r := bin.Run(s.t, "sluice", "ctl", s.Camera, "stop", "--nats", s.url); r.Code != 0 {
		s.t.Fatalf("stop ended with %d\n%s", r.Code, r.Stderr)
	}
	return s.ended()
}

// ended waits for acquire's end, and looks at every frame.
func (s *station) ended() run.Summary {
	s.t.Helper()
	if r := s.acquire.Wait(s.t); r.Code != 0 {
		s.t.Fatalf("acquire ended with %d\n%s", r.Code, r.Stderr)
	}
	sum := s.events.Wait(s.t, limit, "the run has finished", func(e bus.Event) bool { return e.Kind == bus.EventFinished }).Summary
	if sum.Captured == 0 || sum.Written != sum.Captured || sum.Lost != 0 {
		s.t.Errorf("captured %d, written %d, lost %d", sum.Captured, sum.Written, sum.Lost)
	}
	s.work.end(s.t)
	bin.Verify(s.t, *sum)
	programs.CheckFrames(s.t, *sum)
	left, err := filepath.Glob(filepath.Join(sum.Store, ".sluice", "*.*.*"))
	if err != nil {
		s.t.Fatal(err)
	}
	if len(left) > 0 {
		s.t.Errorf("files of open shards are left: %q", left)
	}
	return *sum
}
