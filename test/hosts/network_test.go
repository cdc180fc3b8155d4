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
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
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

// twoHosts are acquire and the broker on this host, two writers and an analyser on another.
type twoHosts struct {
	*station
	network *network
	acquire *programs.Running
	members map[string]*programs.Running
}

// newTwoHosts begins a run of frames of 2 MiB with a budget of 256 MiB, and waits until all members have frames.
func newTwoHosts(t *testing.T, number int, fps string, frames int, args ...string) *twoHosts {
	t.Helper()
	n := newNetwork(t, number)
	h := &twoHosts{
		network: n, members: map[string]*programs.Running{},
		station: newStation(t, fmt.Sprintf("two-%d", number), "sim:?width=1024&height=1024&dtype=uint16&pattern=hash&fps="+fps, frames),
	}
	beat := []string{"--heartbeat", "500ms", "--hung-after", "2s"}
	for name, program := range map[string]string{"w1": "writer", "w2": "writer", "a1": "analyze"} {
		h.members[name] = h.member(n.under(), n.near, program, name, beat...)
	}
	h.acquire = h.station.acquire(slices.Concat(beat, []string{
		"--require", "writer=2,analyze=1", "--shard-frames", "16", "--budget", "256MiB", "--lost-after", "10s",
	}, args)...)
	for name := range h.members {
		h.carries(name, "jetstream")
	}
	return h
}

// strike kills one of the writers and pulls the cable for a while.
func (h *twoHosts) strike(d time.Duration) {
	h.t.Helper()
	h.members["w2"].Signal(h.t, syscall.SIGKILL)
	h.network.cut(d)
}

// after checks that acquire knows of the writer that was killed, and has the other members go.
func (h *twoHosts) after() {
	h.t.Helper()
	lost := slices.ContainsFunc(h.events.All(), func(e bus.Event) bool { return e.Kind == bus.EventMemberLost && e.Member.Name == "w2" })
	if !lost {
		h.t.Errorf("nobody says that the writer is lost\n%s", h.told())
	}
	for _, name := range []string{"w1", "a1"} {
		h.leave(h.members[name])
	}
}

// summary is acquire's account of the run.
func (h *twoHosts) summary() run.Summary {
	h.t.Helper()
	return *h.events.Wait(h.t, limit, "the run's account", func(e bus.Event) bool { return e.Summary != nil }).Summary
}

// filled checks that the budget became full, that each step to it and back was said, and what was done about it.
func (h *twoHosts) filled(action string) {
	h.t.Helper()
	state, full := bus.BudgetOpen, false
	for i, b := range h.full.All() {
		if b.From != state || b.N != uint64(i)+1 {
			h.t.Errorf("transition %d, from %s, comes when the budget is %s", b.N, b.From, state)
		}
		state = b.To
		if b.To != bus.BudgetFull {
			continue
		}
		full = true
		if b.From != bus.BudgetThrottled || b.Action != action || b.Holder != "writer" || b.Limit > 256<<20 || b.Bytes > b.Limit || b.Limit-b.Bytes >= 2<<20 {
			h.t.Errorf("the budget is full: %+v; want the action %s", b, action)
		}
	}
	if !full || state != bus.BudgetOpen {
		h.t.Errorf("the budget was full: %t, and in the end it is %s", full, state)
	}
}

// TestTwoHosts: acquire and the broker on one host, two writers and an analyser on another. The cable is pulled for five
// seconds, and one of the writers killed. No frame is lost, and none is wrong.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t, 10, "6", 150)
	h.strike(5 * time.Second)
	h.finish(h.acquire)
	if s := h.summary(); s.PausedSeconds > 0 || s.Analyzed == 0 {
		t.Errorf("%+v", s)
	}
	for _, b := range h.full.All() {
		if b.To == bus.BudgetFull {
			t.Errorf("the budget lasts for longer than that, and was full: %+v", b)
		}
	}
	h.after()
}

// TestTwoHostsPause: the cable is away for longer than the budget lasts, and the camera pauses: nothing is lost.
func TestTwoHostsPause(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t, 11, "40", 500, "--on-full", "pause")
	h.strike(6 * time.Second)
	h.finish(h.acquire)
	h.filled("pause")
	if s := h.summary(); s.PausedSeconds < 1 || s.PeakBudgetBytes > s.BudgetBytes {
		t.Errorf("%+v", s)
	}
	h.after()
}

// TestTwoHostsDrop: the same, and the newest frames are dropped: each is in the ledger as dropped, the exit code says that frames were
// lost, and all others are there.
func TestTwoHostsDrop(t *testing.T) {
	t.Parallel()
	h := newTwoHosts(t, 12, "40", 500, "--on-full", "drop")
	h.strike(6 * time.Second)
	if r := h.acquire.Wait(t); r.Code != exit.Lost {
		t.Errorf("acquire ended with %d\n%s", r.Code, r.Stderr)
	}
	v, s := h.whole(), h.summary()
	if v.Captured != 500 || v.Lost == 0 || v.Written+v.Lost != 500 || s.Lost != v.Lost || s.LostByReason[frames.Dropped.String()] != v.Lost {
		t.Errorf("verify says %+v, the account %+v", v, s)
	}
	h.filled("drop")
	h.after()
}
