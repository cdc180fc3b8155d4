//go:build figures

package scaling_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

// traffic counts what is said on a camera's subjects.
type traffic struct {
	mu       sync.Mutex // guards what follows
	messages map[string]int
	bytes    map[string]int
}

// listen counts until the test ends, by the subject's part behind the camera's name.
func listen(t *testing.T, url, camera string) *traffic {
	t.Helper()
	c := &traffic{messages: map[string]int{}, bytes: map[string]int{}}
	nc := programs.Connect(t, url)
	if _, err := nc.Subscribe("sluice."+camera+".>", func(m *nats.Msg) {
		kind := strings.TrimPrefix(m.Subject, "sluice."+camera+".")
		if parts := strings.SplitN(kind, ".", 3); parts[0] == "link" {
			kind = "link." + parts[1]
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.messages[kind]++
		c.bytes[kind] += len(m.Data)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

// of is what was counted of a kind.
func (c *traffic) of(kind string) (messages, bytes float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.messages[kind]), float64(c.bytes[kind])
}

// TestFigureTraffic counts messages and bytes on the broker for each frame, and in a second run, in which nobody counts, the
// processor time that a frame costs each process. Frames are small, so that the disk is not in the way.
func TestFigureTraffic(t *testing.T) {
	t.Logf("%-22s %9s | %18s %18s | %10s | %s", "", "frames/s", "link.down a frame", "link.up a frame", "status a s", "processor time, µs a frame")
	for _, c := range []struct {
		name, source    string
		frames, members int
	}{
		{"100 frames/s", "width=64&height=64&fps=100", 1500, 0},
		{"1000 frames/s", "width=64&height=64&fps=1000", 15000, 0},
		{"1000, an analyser", "width=64&height=64&fps=1000", 15000, 1},
		{"10000 frames/s", "width=64&height=64&fps=10000", 150000, 0},
		{"as fast as it goes", "width=64&height=64&fps=0", 500000, 0},
	} {
		args := []string{
			"--source", "sim:?dtype=uint8&pattern=counter&" + c.source, "--frames", strconv.Itoa(c.frames), "--writers", "1",
			"--analyzers", strconv.Itoa(c.members), "--budget", "64MiB",
		}
		l := bin.StartLocal(t, "traffic", args...)
		count := listen(t, l.BrokerURL(), l.Camera)
		var counted, timed run.Summary
		l.Wait(t).LastLine(t, &counted)
		s := programs.NewStation(t, bin, "traffic")
		s.Launch(args...).Wait(t).LastLine(t, &timed)
		if counted.Written != uint64(c.frames) || timed.Written != uint64(c.frames) {
			t.Fatalf("written %d and %d of %d frames", counted.Written, timed.Written, c.frames)
		}
		n := float64(c.frames)
		down, downBytes := count.of("link.down")
		up, upBytes := count.of("link.up")
		status, statusBytes := count.of("status")
		var cpu []string
		for _, p := range timed.Processes {
			cpu = append(cpu, fmt.Sprintf("%s %.1f", p.Name, p.CPUSeconds()/n*1e6))
		}
		t.Logf("%-22s %9.0f | %6.3f, %5.1f bytes %6.3f, %5.1f bytes | %.1f, %4.0f bytes each | %s", c.name, n/timed.Seconds,
			down/n, downBytes/n, up/n, upBytes/n, status/counted.Seconds, statusBytes/status, strings.Join(cpu, ", "))
		l.NothingLeft()
	}
}

// TestFigureIdle is what a camera costs that records nothing, and one that waits for its start.
func TestFigureIdle(t *testing.T) {
	const wait = 20 * time.Second
	b, url := serve(t)
	before := b.NumSubscriptions()
	s := programs.NewStation(t, bin, "idle")
	var list []*programs.Running
	for _, p := range []string{"acquire", "writer", "analyze"} {
		args := []string{"--nats", url, "--camera", s.Camera}
		switch p {
		case "acquire":
			args = append(args, "--source", "sim:?width=512&height=512&dtype=uint16&fps=100", "--budget", "256MiB")
		case "writer":
			args = append(args, "--out", s.Out)
		}
		list = append(list, bin.Start(t, p, args...))
	}
	status := programs.Listen[bus.Status](t, url, bus.StatusSubject(s.Camera))
	status.Wait(t, limit, "both members are there", func(st bus.Status) bool { return len(st.Members) == 2 })
	for _, state := range []string{"idle", "armed"} {
		if state == "armed" {
			if r := bin.Run(t, "sluice", "ctl", s.Camera, "arm", "--nats", url); r.Code != 0 {
				t.Fatal(r.Stderr)
			}
		}
		subs := b.NumSubscriptions() - before - 1 // this test's own
		var cpu [3]float64
		for i, p := range list {
			cpu[i] = -processor(t, p.PID())
		}
		in, inBytes := broker(t, b)
		count := listen(t, url, s.Camera)
		timer := time.NewTimer(wait) // the figure is of a time
		<-timer.C
		after, afterBytes := broker(t, b)
		for i, p := range list {
			cpu[i] += processor(t, p.PID())
		}
		messages, bytes := count.of("status")
		t.Logf("%s: the broker takes %.1f messages and %.0f bytes a second, of which status %.1f and %.0f; %d subscriptions, 3 connections",
			state, float64(after-in)/wait.Seconds(), float64(afterBytes-inBytes)/wait.Seconds(), messages/wait.Seconds(), bytes/wait.Seconds(), subs)
		for i, name := range []string{"acquire", "writer", "analyze"} {
			t.Logf("%s: %-8s %.4f cores, resident %s", state, name, cpu[i]/wait.Seconds(), resident(t, list[i].PID()))
		}
	}
	for _, p := range list {
		p.Signal(t, terminate)
		p.Wait(t)
	}
}

// serve starts a broker whose figures can be asked for.
func serve(t *testing.T) (*server.Server, string) {
	t.Helper()
	b, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(func() {
		b.Shutdown()
		b.WaitForShutdown()
	})
	if !b.ReadyForConnections(limit) {
		t.Fatal("the broker does not start")
	}
	return b, b.ClientURL()
}

// broker is how many messages and bytes a broker has taken.
func broker(t *testing.T, b *server.Server) (messages, bytes int64) {
	t.Helper()
	v, err := b.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.InMsgs, v.InBytes
}

// processor is the time that a process's threads have had a processor, in seconds.
func processor(t *testing.T, pid int) float64 {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		ns, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += ns / 1e9
	}
	return sum
}

// resident is what the kernel says of a process's memory.
func resident(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "RssAnon") || strings.HasPrefix(line, "RssShmem") {
			parts = append(parts, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(parts, ", ")
}
