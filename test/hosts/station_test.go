package hosts_test

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// limit bounds every wait.
const limit = 2 * time.Minute

// elsewhere makes a program one of another host.
var elsewhere = programs.Elsewhere()

// station is a camera with a broker that has JetStream.
type station struct {
	*programs.Station
	t      *testing.T
	url    string // of the broker
	port   int
	source string
	frames int
	status *programs.Messages[bus.Status]
	full   *programs.Messages[bus.Backpressure]
	events *programs.Messages[bus.Event]

	broker  *server.Server
	restart func() // of the broker
}

// serve starts a NATS server.
func serve(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	b, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	if !b.ReadyForConnections(limit) {
		t.Fatal("the NATS server does not start")
	}
	return b
}

func newStation(t *testing.T, camera, source string, n int) *station {
	t.Helper()
	s := &station{Station: programs.NewStation(t, bin, camera), t: t, source: source, frames: n}
	// On all addresses: some programs are on another network.
	opts := server.Options{Host: "0.0.0.0", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()}
	s.broker = serve(t, opts)
	t.Cleanup(func() {
		s.broker.Shutdown()
		s.broker.WaitForShutdown()
	})
	s.port = s.broker.Addr().(*net.TCPAddr).Port
	opts.Port = s.port
	s.restart = func() { // with all that it had in memory gone
		s.broker.Shutdown()
		s.broker.WaitForShutdown()
		s.broker = serve(t, opts)
	}
	s.url = fmt.Sprintf("nats://127.0.0.1:%d", s.port)
	s.status = programs.Listen[bus.Status](t, s.url, "sluice."+s.Camera+".status")
	s.full = programs.Listen[bus.Backpressure](t, s.url, "sluice."+s.Camera+".backpressure")
	s.events = programs.Listen[bus.Event](t, s.url, "sluice."+s.Camera+".events")
	return s
}

// acquire begins the run.
func (s *station) acquire(args ...string) *programs.Running {
	s.t.Helper()
	return bin.Start(s.t, "acquire", append([]string{
		"--nats", s.url, "--camera", s.Camera, "--source", s.source, "--frames", strconv.Itoa(s.frames), "--store", "t.ome.zarr", "--start",
		"--member-timeout", "60s",
	}, args...)...)
}

// member starts a writer or an analyser under another command, with the broker at an address.
func (s *station) member(under []string, address, program, name string, args ...string) *programs.Running {
	s.t.Helper()
	args = append([]string{"--nats", fmt.Sprintf("nats://%s:%d", address, s.port), "--camera", s.Camera, "--name", name}, args...)
	if program == "writer" {
		args = append(args, "--out", s.Out)
	}
	if len(under) == 0 {
		return bin.Start(s.t, program, args...)
	}
	return bin.StartUnder(s.t, under, program, args...)
}

// carries waits until a member's pixels come in the given way, and some have.
func (s *station) carries(name, carrier string) {
	s.t.Helper()
	s.status.Wait(s.t, limit, fmt.Sprintf("%s gets frames by %s", name, carrier), func(st bus.Status) bool {
		m := programs.Member(st, name)
		return m.Carrier == carrier && m.Frames > 0
	})
}

// finish waits for acquire's end, and compares every frame with what the camera made.
func (s *station) finish(a *programs.Running) {
	s.t.Helper()
	if r := a.Wait(s.t); r.Code != 0 {
		s.t.Fatalf("acquire ended with %d\n%s", r.Code, r.Stderr)
	}
	if v := s.whole(); v.Captured != uint64(s.frames) || v.Lost != 0 {
		s.t.Errorf("verify says %+v; want %d frames written, none lost", v, s.frames)
	}
}

// whole compares every frame of the run with what the camera made, and returns what verify says.
func (s *station) whole() programs.Verification {
	s.t.Helper()
	path := filepath.Join(s.Out, "t.ome.zarr")
	r := bin.Run(s.t, "sluice", "verify", path, "--json")
	var v programs.Verification
	r.LastLine(s.t, &v)
	if !v.OK {
		s.t.Errorf("verify says %+v", v)
	}
	reader, err := store.OpenReader(vfs.OS{}, path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer reader.Close()
	if states := programs.CheckPrefix(s.t, reader, s.source, programs.Ledger(s.t, path)); states[frames.Durable] != v.Written {
		s.t.Errorf("the frames are %v, verify says %+v", states, v)
	}
	s.NothingLeft()
	return v
}

// leave has a member go, and checks that it does so in order.
func (s *station) leave(m *programs.Running) {
	s.t.Helper()
	m.Signal(s.t, terminate)
	if r := m.Wait(s.t); r.Code != 0 {
		s.t.Errorf("a member ended with %d\n%s", r.Code, r.Stderr)
	}
}

// told is every event, for the message of a test that fails.
func (s *station) told() string {
	var b strings.Builder
	for _, e := range s.events.All() {
		text, err := json.Marshal(e)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	return b.String()
}
