package programs

import (
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/slab"
)

// Station is a camera and a folder for its stores. Each test has one of its own, since all share the machine's shared
// memory.
type Station struct {
	Camera string
	// Out is where its stores go, Runtime the user's runtime folder.
	Out, Runtime string
	// Env is added to the environment of what Launch starts.
	Env []string

	t   *testing.T
	bin *Programs
}

// NewStation makes a station whose camera has the name and a random end: the same tests may run elsewhere on the
// machine. What the camera leaves in shared memory goes with the test.
func NewStation(t *testing.T, bin *Programs, camera string) *Station {
	t.Helper()
	s := &Station{t: t, bin: bin, Camera: camera + "-" + strings.ToLower(rand.Text()[:6]), Out: t.TempDir(), Runtime: t.TempDir()}
	t.Cleanup(func() {
		for _, path := range s.Shared() { // only names, unless the test has failed
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // a name goes with its process
				t.Error(err)
			}
		}
	})
	return s
}

// Shared lists what the camera has in shared memory.
func (s *Station) Shared() []string {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(slab.UserDir("/dev/shm"), s.Camera+".*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// NothingLeft checks that no run of the camera is left in shared memory: only the names of killed members stay.
func (s *Station) NothingLeft() {
	s.t.Helper()
	for _, name := range s.Shared() {
		if filepath.Ext(name) != ".member" {
			s.t.Errorf("%s is left in shared memory\n%s", name, s.bin.Run(s.t, "sluice", "slabs").Stdout)
		}
	}
}

// Launch starts `sluice run --json` for the camera.
func (s *Station) Launch(args ...string) *Running {
	s.t.Helper()
	args = append([]string{"run", "--json", "--camera", s.Camera, "--out", s.Out}, args...)
	return s.bin.StartWith(s.t, append([]string{"XDG_RUNTIME_DIR=" + s.Runtime}, s.Env...), "sluice", args...)
}

// Endpoint is what the run's own broker says of itself, zero while there is none.
func (s *Station) Endpoint() bus.Endpoint {
	e, err := bus.ReadEndpoint(broker.At(filepath.Join(s.Runtime, "sluice"), s.Camera).File())
	if err != nil {
		return bus.Endpoint{}
	}
	return e
}

// BrokerURL is the address of the run's own broker with its password, empty while there is none.
func (s *Station) BrokerURL() string {
	e := s.Endpoint()
	if e.URL == "" {
		return ""
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	u.User = url.UserPassword(e.User, e.Password)
	return u.String()
}

// Member is the named member in a status, zero where there is none.
func Member(st bus.Status, name string) bus.Member {
	i := slices.IndexFunc(st.Members, func(m bus.Member) bool { return m.Name == name })
	if i < 0 {
		return bus.Member{}
	}
	return st.Members[i]
}

// Writers are the process ids of the writers in a status that live.
func Writers(st bus.Status) (pids []int) {
	for _, m := range st.Members {
		if m.Group == "writer" && m.State == "live" {
			pids = append(pids, m.PID)
		}
	}
	return pids
}
