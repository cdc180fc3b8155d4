package scaling_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// site is a hub and what is behind it, with exactly the configurations in deploy/, but for the ports, and with one user more who may
// hear everything.
type site struct {
	t   *testing.T
	dir string
	hub *server.Server
	at  *server.LeafNodeOpts // where the hub takes leaf nodes
}

const all = "all" // that user's name and password

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	for _, name := range []string{"nats.conf", "hub.conf", "leaf.conf"} {
		text, err := os.ReadFile(filepath.Join("../../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "../../deploy/passwords", filepath.Join(s.dir, "secrets")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("HUB_NAME", "hub")
	t.Setenv("LEAF_PASSWORD", `"secret"`)
	for _, role := range []string{"monitor", "operator"} {
		text, err := os.ReadFile(s.file(role))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(strings.ToUpper(role)+"_PASSWORD", `"`+strings.TrimSpace(string(text))+`"`)
	}
	s.hub = s.broker("hub.conf", func(o *server.Options) {
		s.at = &o.LeafNode
		s.at.Host, s.at.Port = "127.0.0.1", server.RANDOM_PORT
	})
	return s
}

// broker starts a server with a configuration of deploy/.
func (s *site) broker(name string, change func(*server.Options)) *server.Server {
	s.t.Helper()
	opts, err := server.ProcessConfigFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs, opts.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, s.t.TempDir()
	opts.Users = append(opts.Users, &server.User{Username: all, Password: all})
	change(opts)
	b, err := server.NewServer(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	b.Start()
	s.t.Cleanup(func() {
		b.Shutdown()
		b.WaitForShutdown()
	})
	if !b.ReadyForConnections(limit) {
		s.t.Fatalf("the broker of %s does not start", name)
	}
	return b
}

// leaf starts the broker of a host, and waits until the hub has it.
func (s *site) leaf(name string) *server.Server {
	s.t.Helper()
	s.t.Setenv("LEAF_NAME", name)
	s.t.Setenv("HUB_URL", fmt.Sprintf(`"nats-leaf://leaf:secret@%s:%d"`, s.at.Host, s.at.Port))
	before := s.hub.NumLeafNodes()
	b := s.broker("leaf.conf", func(*server.Options) {})
	programs.Eventually(s.t, limit, "the hub has "+name, func() bool { return s.hub.NumLeafNodes() == before+1 })
	return b
}

// as are the options of a role at a broker.
func (s *site) as(b *server.Server, role string) []string {
	return []string{"--nats", b.ClientURL(), "--nats-user", role, "--nats-password-file", s.file(role)}
}

// file is where a role's password is.
func (s *site) file(role string) string { return filepath.Join(s.dir, "secrets", role+".password") }

// heard counts what comes to somebody at a broker who may hear everything.
func (s *site) heard(b *server.Server, subject string) *atomic.Int64 {
	s.t.Helper()
	var n atomic.Int64
	nc := programs.Connect(s.t, strings.Replace(b.ClientURL(), "nats://", "nats://"+all+":"+all+"@", 1))
	if _, err := nc.Subscribe(subject, func(*nats.Msg) { n.Add(1) }); err != nil {
		s.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return &n
}

// TestLeaves: two hosts with a camera each, behind a hub. Who is at the hub sees both, and starts and stops each; what
// goes between acquire and its writer stays on its host, whoever listens.
func TestLeaves(t *testing.T) {
	s := newSite(t)
	hears := s.heard(s.hub, "sluice.*.link.>")
	type host struct {
		*programs.Station
		broker *server.Server
		link   *atomic.Int64
		list   []*programs.Running
	}
	var hosts []*host
	for _, name := range []string{"rig1", "rig2"} {
		h := &host{Station: programs.NewStation(t, bin, name), broker: s.leaf(name)}
		h.link = s.heard(h.broker, "sluice."+h.Camera+".link.>")
		start := func(role string, args ...string) {
			h.list = append(h.list, bin.Start(t, role, append(append(s.as(h.broker, role), "--camera", h.Camera), args...)...))
		}
		start("acquire", "--source", source)
		start("writer", "--out", h.Out)
		hosts = append(hosts, h)
	}
	ctl := func(code int, h *host, verb string, args ...string) programs.Result {
		t.Helper()
		r := bin.Run(t, "sluice", append(append([]string{"ctl", h.Camera, verb}, s.as(s.hub, "operator")...), args...)...)
		if r.Code != code {
			t.Fatalf("%s of %s ended with %d\n%s%s", verb, h.Camera, r.Code, r.Stdout, r.Stderr)
		}
		return r
	}
	for _, h := range hosts {
		programs.Eventually(t, limit, "the hub sees "+h.Camera, func() bool {
			r := bin.Run(t, "sluice", append([]string{"monitor", h.Camera, "--once", "--json"}, s.as(s.hub, "monitor")...)...)
			return r.Code == 0 && strings.Contains(r.Stdout, `"group":"writer"`)
		})
		ctl(0, h, "start")
	}
	for _, h := range hosts {
		programs.Eventually(t, limit, h.Camera+" records", func() bool {
			var st bus.Status
			ctl(0, h, "status", "--json").LastLine(t, &st)
			return st.Durable > 500
		})
		ctl(0, h, "stop")
		ctl(0, h, "wait")
		if n := h.link.Load(); n == 0 {
			t.Errorf("nothing of the link is heard on %s itself", h.Camera)
		}
		h.NothingLeft()
	}
	if n := hears.Load(); n != 0 {
		t.Errorf("%d messages of the link were heard at the hub", n)
	}
	t.Logf("of the link %d and %d messages were heard on the hosts, %d at the hub", hosts[0].link.Load(), hosts[1].link.Load(), hears.Load())

	// One camera has one acquire, over all hosts.
	second := bin.Start(t, "acquire", append(s.as(hosts[1].broker, "acquire"), "--camera", hosts[0].Camera, "--source", source)...)
	if r := second.Wait(t); r.Code != 2 {
		t.Errorf("a second acquire of the name, on another host, ended with %d\n%s", r.Code, r.Stderr)
	}

	// A host records on when the middle is gone.
	here := func(h *host, verb string) programs.Result {
		return bin.Run(t, "sluice", append([]string{"ctl", h.Camera, verb, "--json"}, s.as(h.broker, "operator")...)...)
	}
	ctl(0, hosts[0], "start")
	s.hub.Shutdown()
	programs.Eventually(t, limit, "it records without the hub", func() bool {
		var st bus.Status
		r := here(hosts[0], "status")
		r.LastLine(t, &st)
		return st.Durable > 500
	})
	for _, verb := range []string{"stop", "wait"} {
		if r := here(hosts[0], verb); r.Code != 0 {
			t.Errorf("%s ended with %d\n%s", verb, r.Code, r.Stderr)
		}
	}
	for _, h := range hosts {
		for _, p := range h.list {
			p.Signal(t, terminate)
			if r := p.Wait(t); r.Code != 0 {
				t.Errorf("it ended with %d\n%s", r.Code, r.Stderr)
			}
		}
	}
}
