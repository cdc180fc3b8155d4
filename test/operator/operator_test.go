package operator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
)

// TestInterrupt is Ctrl-C in a terminal: the whole foreground group gets it, and the run drains.
func TestInterrupt(t *testing.T) {
	s := record(t, "op-interrupt")
	s.interrupt()
	sum := s.end(0)
	if sum.EndedBy != run.EndedStop || sum.Lost != 0 || sum.Restarts != 0 {
		t.Errorf("%+v", sum)
	}
	if l := sum.Latency; l == nil || l.Frames != sum.Written || l.P50NS <= 0 || l.P50NS > l.P99NS || l.P99NS > l.P999NS || l.P999NS > l.MaxNS {
		t.Errorf("latencies %+v of %d frames", l, sum.Written)
	}
	var names []string
	for _, p := range sum.Processes {
		names = append(names, p.Name)
		if p.UserSeconds+p.SystemSeconds <= 0 || p.PeakAnonBytes <= 0 || !p.Kept() {
			t.Errorf("%+v", p)
		}
		least := map[string]int64{"acquire": run.AcquireLimit, "writer-1": run.MemberLimit, "writer-2": run.MemberLimit, "analyze-1": run.MemberLimit + 1}[p.Name]
		if p.LimitBytes < least || (least == 0) != (p.LimitBytes == 0) {
			t.Errorf("the limit of %s is %d bytes", p.Name, p.LimitBytes)
		}
	}
	if want := []string{"acquire", "writer-1", "writer-2", "analyze-1", "broker", "run"}; !slices.Equal(names, want) {
		t.Errorf("processes %v, want %v", names, want)
	}
	s.sound(sum)
	s.gone()
}

// TestOperate watches and controls a run as a person does.
func TestOperate(t *testing.T) {
	s := record(t, "op-operate")

	if r := s.sluice("ctl", s.camera, "start"); r.Code != 2 || !strings.Contains(r.Stderr, "one run at a time") {
		t.Errorf("start: %+v", r)
	}
	if r := s.sluice("run", "--camera", s.camera, "--source", "sim:?width=8&height=8", "--out", s.out); r.Code != 2 || strings.Count(r.Stderr, "\n") != 1 ||
		!strings.Contains(r.Stderr, "the camera already has a run on this machine") {
		t.Errorf("second run: %+v", r)
	}
	if r := s.sluice("ctl", s.camera, "pause"); r.Code != 0 {
		t.Errorf("pause: %+v", r)
	}
	paused := s.await("pause", func(st bus.Status) bool { return st.State == bus.StatePaused })
	if r := s.sluice("monitor", "--once"); r.Code != 0 || !strings.Contains(r.Stdout, s.camera+"  PAUSED") || !strings.Contains(r.Stdout, "writer-2") {
		t.Errorf("monitor: %+v", r)
	}
	var st bus.Status
	if r := s.sluice("ctl", s.camera, "status", "--json"); r.Code != 0 || json.Unmarshal([]byte(r.Stdout), &st) != nil || st.Run != paused.Run || len(st.Members) != 3 {
		t.Errorf("status: %+v", r)
	}
	r := s.sluice("env")
	for _, want := range []string{"export NATS_URL=nats://127.0.0.1:", "export NATS_PASSWORD=" + s.broker.Password, "export SLUICE_CAMERA=" + s.camera} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("env lacks %q: %+v", want, r)
		}
	}
	if r := s.sluice("slabs"); !strings.Contains(r.Stdout, s.camera) {
		t.Errorf("slabs: %+v", r)
	}
	if r := s.sluice("ctl", s.camera, "resume"); r.Code != 0 {
		t.Errorf("resume: %+v", r)
	}
	s.await("frames after the pause", func(st bus.Status) bool { return st.Captured > paused.Captured+20 })
	if r := s.sluice("ctl", s.camera, "stop"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "draining") && !strings.HasPrefix(r.Stdout, "running") {
		t.Errorf("stop: %+v", r)
	}
	sum := s.end(0)
	if sum.EndedBy != run.EndedStop || sum.Run != paused.Run {
		t.Errorf("%+v", sum)
	}
	s.sound(sum)
	s.gone()
	if r := s.sluice("ctl", s.camera, "status"); r.Code != 2 || !strings.Contains(r.Stderr, "no local run of camera "+s.camera) {
		t.Errorf("status after the end: %+v", r)
	}
}

// TestSecretsStayOutOfCommandLines looks at what every user of the machine can see.
func TestSecretsStayOutOfCommandLines(t *testing.T) {
	s := record(t, "op-secrets", "--meta", "word=open-sesame")
	st, err := s.client.Status(t.Context(), bus.RunRequest{})
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{st.PID, s.broker.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(b) == 0 || strings.Contains(string(b), s.broker.Password) || strings.Contains(string(b), "open-sesame") {
			t.Errorf("process %d: %q, %v", pid, b, err)
		}
	}
	info, err := os.Stat(filepath.Join(s.runtime, "sluice", s.camera+".json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s.interrupt()
	s.end(0)
}

// TestKilledChildren kills each kind of child once in one run.
func TestKilledChildren(t *testing.T) {
	s := record(t, "op-killed")
	members := func(st bus.Status) map[string]int {
		pids := map[string]int{}
		for _, m := range st.Members {
			if m.State == "live" {
				pids[m.Name] = m.PID
			}
		}
		return pids
	}
	st := s.await("members", func(st bus.Status) bool { return len(members(st)) == 3 })
	for _, name := range []string{"writer-1", "analyze-1"} {
		old := members(st)[name]
		s.kill(old)
		st = s.await(name+" again", func(st bus.Status) bool { pid := members(st)[name]; return pid != 0 && pid != old })
	}
	s.kill(s.broker.PID)
	old := st.PID
	s.await("acquire over a new broker", func(now bus.Status) bool { return now.Captured > st.Captured })
	s.kill(old)
	s.await("acquire again", func(now bus.Status) bool {
		return now.PID != old && now.State == bus.StateRunning && now.Captured > st.Captured
	})
	s.interrupt()
	var sum run.Summary
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the run does not end")
	}
	sum = s.end(s.cmd.ProcessState.ExitCode())
	if sum.Restarts != 4 {
		t.Errorf("%d restarts\n%s", sum.Restarts, s.stderr.String())
	}
	s.sound(sum)
	s.gone()
}

// TestKilledSupervisor kills sluice run itself: its children drain, complete the store and go, the broker last.
func TestKilledSupervisor(t *testing.T) {
	s := record(t, "op-orphans")
	st, err := s.client.Status(t.Context(), bus.RunRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s.kill(s.cmd.Process.Pid)
	<-s.ended
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pids := []int{st.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	for _, pid := range pids {
		awaitExit(ctx, t, pid)
	}
	var v struct {
		OK       bool
		Captured uint64
	}
	r := s.sluice("verify", st.Store, "--json")
	r.LastLine(t, &v)
	if !v.OK || v.Captured < st.Captured {
		t.Errorf("%+v", r)
	}
}

// awaitExit waits until a process that is not ours has ended.
func awaitExit(ctx context.Context, t *testing.T, pid int) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("process %d does not end", pid)
		}
	}
}

// TestSecondInterrupt stops hard while a writer does not move.
func TestSecondInterrupt(t *testing.T) {
	s := record(t, "op-hard")
	st, err := s.client.Status(t.Context(), bus.RunRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range st.Members {
		if m.Group == "writer" {
			if err := syscall.Kill(m.PID, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.interrupt()
	s.await("drain", func(st bus.Status) bool { return st.State == bus.StateDraining })
	s.interrupt()
	if sum := s.end(130); sum.Run != st.Run || sum.EndedBy != run.EndedHard || sum.Store != st.Store || sum.Captured < st.Captured || len(sum.Warnings) == 0 {
		t.Errorf("%+v", sum)
	}
	// What was not durable is still in the slab.
	if r := s.sluice("slabs", s.camera, "--rm", "--force", "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"removed":true`) {
		t.Errorf("%+v", r)
	}
}
