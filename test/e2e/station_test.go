package e2e_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds every wait.
const patience = 60 * time.Second

// station is a camera, what its processes say on NATS, and a folder for its stores. Each test has a camera of its
// own, since all share the machine's shared memory.
type station struct {
	t       *testing.T
	camera  string
	out     string
	runtime string // the user's runtime folder
	url     string // of the broker
	client  *bus.Client
	nc      *nats.Conn

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

// bareStation makes a station without a broker. Its camera's name ends at random: the same tests may run elsewhere on
// the machine.
func bareStation(t *testing.T, camera string) *station {
	t.Helper()
	s := &station{t: t, camera: "e2e-" + camera + "-" + strings.ToLower(rand.Text()[:6]), out: t.TempDir(), runtime: t.TempDir()}
	t.Cleanup(func() {
		for _, path := range s.shared() { // only names, unless the test has failed
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// shared lists what the camera has in shared memory.
func (s *station) shared() []string {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(slab.UserDir("/dev/shm"), s.camera+".*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// listen connects to a broker and keeps what is said there.
func (s *station) listen(url string) {
	s.t.Helper()
	s.url = url
	s.nc = programs.Connect(s.t, url)
	s.client = bus.NewClient(s.nc, s.camera)
	s.events = programs.Listen[bus.Event](s.t, url, bus.EventsSubject(s.camera))
	s.backpressure = programs.Listen[bus.Backpressure](s.t, url, bus.BackpressureSubject(s.camera))
	s.status = programs.Listen[bus.Status](s.t, url, bus.StatusSubject(s.camera))
}

// start starts `sluice run --json` on the station's broker.
func (s *station) start(args ...string) *programs.Running {
	s.t.Helper()
	return s.launch(append([]string{"--nats", s.url}, args...)...)
}

// launch starts `sluice run --json` as it is given.
func (s *station) launch(args ...string) *programs.Running {
	s.t.Helper()
	args = append([]string{"run", "--json", "--camera", s.camera, "--out", s.out}, args...)
	return bin.StartWith(s.t, []string{"XDG_RUNTIME_DIR=" + s.runtime}, "sluice", args...)
}

// local makes a station whose run has a broker of its own, starts the run, and connects.
func local(t *testing.T, camera string, args ...string) (*station, *programs.Running) {
	t.Helper()
	s := bareStation(t, camera)
	r := s.launch(args...)
	var e bus.Endpoint
	s.poll("a broker", r, func() bool {
		e = s.endpoint()
		return e.URL != ""
	})
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(e.User, e.Password)
	s.listen(u.String())
	return s, r
}

// endpoint is what the run's own broker says of itself, zero while there is none.
func (s *station) endpoint() bus.Endpoint {
	e, err := bus.ReadEndpoint(broker.At(filepath.Join(s.runtime, "sluice"), s.camera).File())
	if err != nil {
		return bus.Endpoint{}
	}
	return e
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

// writersOf are the process ids of the writers.
func writersOf(st bus.Status) (pids []int) {
	for _, m := range st.Members {
		if m.Group == "writer" && m.State == "live" {
			pids = append(pids, m.PID)
		}
	}
	return pids
}

// member is the named member, zero where there is none.
func member(st bus.Status, name string) bus.Member {
	i := slices.IndexFunc(st.Members, func(m bus.Member) bool { return m.Name == name })
	if i < 0 {
		return bus.Member{}
	}
	return st.Members[i]
}

// nothingLeft checks that no run of the camera is left in shared memory: only the members' names stay.
func (s *station) nothingLeft() {
	s.t.Helper()
	for _, name := range s.shared() {
		if filepath.Ext(name) != ".member" {
			s.t.Errorf("%s is left in shared memory\n%s", name, bin.Run(s.t, "sluice", "slabs").Stdout)
		}
	}
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
