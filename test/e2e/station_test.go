package e2e_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds every wait.
const patience = 60 * time.Second

// station is a station with what its processes say on NATS.
type station struct {
	*programs.Station
	t      *testing.T
	url    string // of the broker
	client *bus.Client
	nc     *nats.Conn

	events       *programs.Messages[bus.Event]
	backpressure *programs.Messages[bus.Backpressure]
	status       *programs.Messages[bus.Status]
}

// newStation makes a station with a broker of the test's.
func newStation(t *testing.T, camera string) *station {
	t.Helper()
	s := bareStation(t, camera)
	s.listen(programs.Broker(t))
	return s
}

// bareStation makes a station without a broker.
func bareStation(t *testing.T, camera string) *station {
	t.Helper()
	return &station{Station: programs.NewStation(t, bin, "e2e-"+camera), t: t}
}

// listen connects to a broker and keeps what is said there.
func (s *station) listen(url string) {
	s.t.Helper()
	s.url = url
	s.nc = programs.Connect(s.t, url)
	s.client = bus.NewClient(s.nc, s.Camera)
	s.events = programs.Listen[bus.Event](s.t, url, bus.EventsSubject(s.Camera))
	s.backpressure = programs.Listen[bus.Backpressure](s.t, url, bus.BackpressureSubject(s.Camera))
	s.status = programs.Listen[bus.Status](s.t, url, bus.StatusSubject(s.Camera))
}

// start starts `sluice run --json` on the station's broker.
func (s *station) start(args ...string) *programs.Running {
	s.t.Helper()
	return s.Launch(append([]string{"--nats", s.url}, args...)...)
}

// local makes a station whose run has a broker of its own, starts the run, and connects.
func local(t *testing.T, camera string, args ...string) (*station, *programs.Running) {
	t.Helper()
	s := bareStation(t, camera)
	r := s.Launch(args...)
	url := ""
	s.poll("a broker", r, func() bool {
		url = s.BrokerURL()
		return url != ""
	})
	s.listen(url)
	return s, r
}

// poll waits until done, while the run goes on.
func (s *station) poll(what string, r *programs.Running, done func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for !done() {
		select {
		case <-ticker.C:
		case <-r.Done():
			if done() {
				return
			}
			s.t.Fatalf("the program has ended, waited for %s\n%+v", what, r.Wait(s.t))
		case <-limit:
			s.t.Fatalf("no %s after %s", what, patience)
		}
	}
}

// await asks for the camera's status until it is as wanted, while the run goes on.
func (s *station) await(what string, r *programs.Running, want func(bus.Status) bool) (found bus.Status) {
	s.t.Helper()
	s.poll(what, r, func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		st, err := s.client.Status(ctx, bus.RunRequest{})
		if err != nil || !want(st) {
			return false
		}
		found = st
		return true
	})
	return found
}

// durable awaits that so many frames are durable.
func (s *station) durable(r *programs.Running, n uint64) bus.Status {
	s.t.Helper()
	return s.await("durable frames", r, func(st bus.Status) bool { return st.Durable >= n })
}

// freeze stops processes until thaw, or the test's end.
func (s *station) freeze(pids ...int) {
	s.t.Helper()
	s.signal(syscall.SIGSTOP, pids...)
	s.t.Cleanup(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it has ended, unless the test failed
		}
	})
}

func (s *station) thaw(pids ...int) { s.signal(syscall.SIGCONT, pids...) }

func (s *station) kill(pid int) { s.signal(syscall.SIGKILL, pid) }

func (s *station) signal(sig syscall.Signal, pids ...int) {
	s.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			s.t.Fatalf("process %d: %s: %v", pid, sig, err)
		}
	}
}

// end waits for the end of a run, whose exit code must be want, and checks its store: `sluice verify` is content and
// every frame is what the camera made.
func (s *station) end(r *programs.Running, want int) run.Summary {
	s.t.Helper()
	sum := record(s.t, r, want)
	if sum.Written+sum.Lost != sum.Captured || sum.Captured == 0 {
		s.t.Errorf("captured %d, written %d, lost %d", sum.Captured, sum.Written, sum.Lost)
	}
	bin.Verify(s.t, sum)
	programs.CheckFrames(s.t, sum)
	return sum
}

// gone awaits the end of processes that are not the test's children.
func (s *station) gone(pids ...int) {
	s.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			select {
			case <-ticker.C:
			case <-limit:
				s.t.Fatalf("process %d does not end", pid)
			}
		}
	}
}
