package hostile_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// source is what the camera makes: 64 KiB frames, no two pages alike.
const source = "sim:?width=256&height=256&dtype=uint8&fps=100&pattern=hash"

// scene is a run of real programs, and a stranger on their broker.
type scene struct {
	*programs.Station
	t        *testing.T
	url      string
	run      *programs.Running
	client   *bus.Client
	stranger *nats.Conn
	members  *programs.Messages[bus.MemberStatus]
	began    time.Time

	mu   sync.Mutex // guards peak
	peak map[int]int64
}

// broker takes messages of 16 MiB, more than any that Sluice's own takes.
func broker(t *testing.T) string {
	t.Helper()
	return programs.BrokerOf(t, server.Options{MaxPayload: 16 << 20})
}

// newScene is a camera without a run.
func newScene(t *testing.T, camera string) *scene {
	t.Helper()
	s := &scene{Station: programs.NewStation(t, bin, camera), t: t, url: broker(t), peak: map[int]int64{}}
	s.stranger = programs.Connect(t, s.url)
	s.client = bus.NewClient(s.stranger, s.Camera)
	s.members = programs.Listen[bus.MemberStatus](t, s.url, bus.StatusSubject(s.Camera))
	return s
}

// earlier has the camera do a whole run.
func (s *scene) earlier() {
	s.t.Helper()
	r := s.Launch("--nats", s.url, "--source", source, "--frames", "60", "--shard-frames", "32", "--writers", "2", "--analyzers", "1").Wait(s.t)
	if r.Code != 0 {
		s.t.Fatalf("exit code %d\n%s", r.Code, r.Stderr)
	}
}

// start starts the run that the stranger will find, which goes on until stop, and waits for frames.
func (s *scene) start() {
	s.t.Helper()
	s.began = time.Now()
	s.run = s.Launch("--nats", s.url, "--source", source, "--writers", "2", "--analyzers", "1", "--shard-frames", "32", "--budget", "16MiB")
	s.await("durable frames", func(st bus.Status) bool { return st.Durable > 50 && len(st.Members) == 3 })
}

// await asks for the camera's status until it is as wanted, while the run goes on.
func (s *scene) await(what string, want func(bus.Status) bool) (found bus.Status) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
		st, err := s.client.Status(ctx, bus.RunRequest{})
		cancel()
		if err == nil {
			s.look(st)
			if want(st) {
				return st
			}
		}
		select {
		case <-tick.C:
		case <-s.run.Done():
			s.t.Fatalf("the run has ended, waited for %s\n%+v", what, s.run.Wait(s.t))
		case <-limit:
			s.t.Fatalf("no %s within %s; the last status: %+v, %v", what, patience, st, err)
		}
	}
}

// look notes the anonymous memory of every process.
func (s *scene) look(st bus.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := []int{st.PID}
	for _, m := range st.Members {
		pids = append(pids, m.PID)
	}
	for _, pid := range pids {
		s.peak[pid] = max(s.peak[pid], anonymous(pid))
	}
}

// anonymous is a process's anonymous memory in bytes, 0 where it has ended.
func anonymous(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, text, _ = bytes.Cut(text, []byte("RssAnon:"))
	text, _, _ = bytes.Cut(text, []byte("kB"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// goroutines are those of acquire and of its members, by name.
func (s *scene) goroutines(st bus.Status) map[string]int {
	n := map[string]int{"acquire": st.Goroutines}
	for _, m := range st.Members {
		n[m.Name] = s.member(m.Name, func(bus.MemberStatus) bool { return true }).Goroutines
	}
	return n
}

// member awaits a status of a member, of those that come from now on.
func (s *scene) member(name string, want func(bus.MemberStatus) bool) bus.MemberStatus {
	s.t.Helper()
	since := time.Now()
	return s.members.Wait(s.t, patience, "a status of "+name, func(m bus.MemberStatus) bool {
		return m.Type == bus.TypeMember && m.Process == name && m.Time.After(since) && want(m)
	})
}

// counted awaits that acquire has refused so many more than before, and fails the test if it becomes more.
func (s *scene) counted(what string, before, more map[refusal.Kind]uint64) {
	s.t.Helper()
	want := maps.Clone(before)
	if want == nil {
		want = map[refusal.Kind]uint64{}
	}
	for k, n := range more {
		want[k] += n
	}
	st := s.await(fmt.Sprintf("%s: refusals %v, before %v", what, more, before), func(st bus.Status) bool {
		for k := range more {
			if st.Refused[k] < want[k] {
				return false
			}
		}
		return true
	})
	for k := range more {
		if st.Refused[k] != want[k] {
			s.t.Errorf("%s: %d of kind %s were refused, want %d", what, st.Refused[k]-before[k], k, more[k])
		}
	}
}

// send publishes as the stranger.
func (s *scene) send(subject string, data []byte) {
	s.t.Helper()
	if err := s.stranger.Publish(s.subject(subject), data); err != nil {
		s.t.Fatal(err)
	}
}

// subject is one of the camera's.
func (s *scene) subject(rest string) string { return "sluice." + s.Camera + "." + rest }

func (s *scene) flush() {
	s.t.Helper()
	if err := s.stranger.FlushTimeout(patience); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends the run, which must have lost nothing.
func (s *scene) stop() run.Summary {
	s.t.Helper()
	s.run.Signal(s.t, syscall.SIGINT)
	r := s.run.Wait(s.t)
	if r.Code != 0 {
		s.t.Fatalf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.Code, r.Stdout, r.Stderr)
	}
	var sum run.Summary
	r.LastLine(s.t, &sum)
	if sum.Lost != 0 || sum.Captured == 0 || sum.Written != sum.Captured || sum.Restarts != 0 {
		s.t.Errorf("captured %d, written %d, lost %d, %d restarts", sum.Captured, sum.Written, sum.Lost, sum.Restarts)
	}
	bin.Verify(s.t, sum)
	if n := programs.CheckFrames(s.t, sum)[frames.Durable]; n != sum.Captured {
		s.t.Errorf("%d frames have the right bytes, want %d", n, sum.Captured)
	}
	s.quiet(r.Stderr)
	s.NothingLeft()
	return sum
}

// quiet checks what was logged: nothing for a terminal to obey, nobody has crashed, and of each process and kind one line
// a second at most.
func (s *scene) quiet(log string) {
	s.t.Helper()
	seconds := int(time.Since(s.began).Seconds()) + 2
	lines := map[string]int{}
	for line := range strings.Lines(log) {
		if strings.ContainsAny(line, "\x1b\x07\x00") {
			s.t.Errorf("a line has control characters: %q", line)
		}
		if strings.Contains(line, "panic") || strings.HasPrefix(line, "goroutine ") {
			s.t.Errorf("something has crashed: %s", line)
		}
		if len(line) > 2000 {
			s.t.Errorf("a line of %d bytes: %.200s", len(line), line)
		}
		process, rest, _ := strings.Cut(line, ": refused (")
		_, kind, is := strings.Cut(rest, "kind: ")
		if kind, _, _ = strings.Cut(kind, ","); is {
			lines[process+" "+strings.TrimRight(kind, ")\n")]++
		}
	}
	for who, n := range lines {
		if n > seconds {
			s.t.Errorf("%s: %d lines in %d seconds", who, n, seconds)
		}
	}
	if len(lines) == 0 {
		s.t.Errorf("nothing was logged of what was refused:\n%s", log)
	}
	if n := strings.Count(log, "\n"); n > len(lines)*seconds+100 {
		s.t.Errorf("%d lines in %d seconds", n, seconds)
	}
}
