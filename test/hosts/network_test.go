package hosts_test

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// network is a second host: a network namespace, and a cable to it.
type network struct {
	t           *testing.T
	name, cable string
	near        string // this side's address
}

func newNetwork(t *testing.T, number int) *network {
	t.Helper()
	id := strings.ToLower(rand.Text()[:6])
	n := &network{t: t, name: "sluice-" + id, cable: "sl" + id + "a", near: fmt.Sprintf("198.18.%d.1", number)}
	far := "sl" + id + "b"
	n.ip("netns", "add", n.name)
	t.Cleanup(func() {
		n.ip("link", "del", n.cable)
		n.ip("netns", "del", n.name)
	})
	n.ip("link", "add", n.cable, "type", "veth", "peer", "name", far, "netns", n.name)
	n.ip("addr", "add", n.near+"/30", "dev", n.cable)
	n.ip("link", "set", n.cable, "up")
	n.ip("-n", n.name, "addr", "add", fmt.Sprintf("198.18.%d.2/30", number), "dev", far)
	n.ip("-n", n.name, "link", "set", far, "up")
	n.ip("-n", n.name, "link", "set", "lo", "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %q: %v\n%s", args, err, out)
	}
}

// under makes a program one of the second host.
func (n *network) under() []string {
	return slices.Concat([]string{"ip", "netns", "exec", n.name}, elsewhere)
}

// cut pulls the cable for a while.
func (n *network) cut(d time.Duration) {
	n.t.Helper()
	n.ip("link", "set", n.cable, "down")
	select {
	case <-time.After(d):
	case <-n.t.Context().Done():
	}
	n.ip("link", "set", n.cable, "up")
}

// TestTwoHosts: acquire and the broker on one host, two writers and an analyser on another. The cable is pulled for five
// seconds, and one of the writers killed meanwhile. No frame is lost, and none is wrong. Where the budget holds for
// less than that, it says so, and the camera is paused.
func TestTwoHosts(t *testing.T) {
	for i, c := range []struct {
		name, fps, budget string
		frames            int
		full              bool
	}{
		{"the budget lasts", "6", "256MiB", 150, false},
		{"the budget is full", "40", "128MiB", 600, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, 10+i)
			s := newStation(t, fmt.Sprintf("two-%d", i), "sim:?width=1024&height=1024&dtype=uint16&pattern=hash&fps="+c.fps, c.frames)
			beat := []string{"--heartbeat", "500ms", "--hung-after", "2s"}
			first := s.member(n.under(), n.near, "writer", "w1", beat...)
			second := s.member(n.under(), n.near, "writer", "w2", beat...)
			seen := s.member(n.under(), n.near, "analyze", "a1", beat...)
			a := s.acquire(append(beat, "--require", "writer=2,analyze=1", "--shard-frames", "16", "--budget", c.budget, "--lost-after", "10s")...)
			for _, m := range []string{"w1", "w2", "a1"} {
				s.carries(m, "jetstream")
			}
			second.Signal(t, syscall.SIGKILL)
			n.cut(5 * time.Second)
			s.finish(a)
			full := slices.ContainsFunc(s.full.All(), func(b bus.Backpressure) bool { return b.To == bus.BudgetFull && b.Action == "pause" })
			if full != c.full {
				t.Errorf("the budget was full: %t, want %t\n%s", full, c.full, s.told())
			}
			lost := slices.ContainsFunc(s.events.All(), func(e bus.Event) bool { return e.Kind == bus.EventMemberLost && e.Member.Name == "w2" })
			if !lost {
				t.Errorf("nobody says that the writer is lost\n%s", s.told())
			}
			for _, m := range []*programs.Running{first, seen} {
				s.leave(m)
			}
		})
	}
}
