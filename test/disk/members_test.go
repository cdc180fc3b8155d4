package disk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// crew starts acquire and writers by hand, each writer with its folder.
func (s *station) crew(folders map[string]string, source ...string) *programs.Running {
	s.t.Helper()
	for name, out := range folders {
		bin.Start(s.t, "writer", "--nats", s.url, "--camera", s.Camera, "--name", name, "--out", out)
	}
	args := []string{"--nats", s.url, "--camera", s.Camera, "--budget", "16MiB", "--shard-frames", "32", "--require", fmt.Sprintf("writer=%d", len(folders)), "--start"}
	return bin.Start(s.t, "acquire", append(args, source...)...)
}

// TestOtherFolder: two writers of one camera that do not see the same folder: the run is refused before it has a frame.
func TestOtherFolder(t *testing.T) {
	t.Parallel()
	s := newStation(t, bin, "folders")
	// The same path in another mount namespace would be another folder too: what counts is whether the store is there.
	folders := map[string]string{"disk-a": t.TempDir(), "disk-b": t.TempDir()}
	res := s.crew(folders, "--source", endless).Wait(t)
	if res.Code != 2 || !told(lastLine(res.Stderr), "do all writers see the same folder?") {
		t.Errorf("exit code %d\n%s", res.Code, res.Stderr)
	}
	// acquire is gone; the writers hear of the end and remove what is empty.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(patience)
	for name, dir := range folders {
		for list, err := os.ReadDir(dir); err != nil || len(list) > 0; list, err = os.ReadDir(dir) {
			select {
			case <-ticker.C:
			case <-limit:
				t.Fatalf("%s keeps %v, %v", name, list, err)
			}
		}
	}
}

// TestOtherFolderLater: a writer with another folder that joins a run gets none of its frames.
func TestOtherFolderLater(t *testing.T) {
	t.Parallel()
	s := newStation(t, bin, "later")
	acquire := s.crew(map[string]string{"disk-a": s.Out}, "--source", endless)
	s.await("durable frames", acquire, func(st bus.Status) bool { return st.Durable >= 20 })
	other := t.TempDir()
	bin.Start(t, "writer", "--nats", s.url, "--camera", s.Camera, "--name", "disk-b", "--out", other)
	e := s.events.Wait(t, patience, "a refusal", func(e bus.Event) bool { return e.Kind == bus.EventRefused })
	if e.Member == nil || e.Member.Name != "disk-b" || !strings.Contains(e.Text, "do all writers see the same folder?") {
		t.Errorf("%+v", e)
	}
	s.stopped(acquire)
	if list, err := os.ReadDir(other); err != nil || len(list) != 0 {
		t.Errorf("the other folder has %v, %v", list, err)
	}
}

// stopped stops a run that was started by hand, of which nothing may be lost.
func (s *station) stopped(acquire *programs.Running) {
	s.t.Helper()
	acquire.Signal(s.t, os.Interrupt)
	if res := acquire.Wait(s.t); res.Code != 0 {
		s.t.Errorf("exit code %d\n%s", res.Code, res.Stderr)
	}
	e := s.events.Wait(s.t, patience, "the summary", func(e bus.Event) bool { return e.Kind == bus.EventFinished })
	if e.Summary == nil || e.Summary.Lost != 0 {
		s.t.Fatalf("%+v", e.Summary)
	}
	s.sound(*e.Summary)
	s.NothingLeft()
}

// TestSameName: a second writer of a name is refused, on the first one's host and where the host's locks don't show it,
// and the first one notices nothing.
func TestSameName(t *testing.T) {
	t.Parallel()
	s := newStation(t, bin, "name")
	acquire := s.crew(map[string]string{"disk-a": s.Out}, "--source", endless)
	before := s.await("durable frames", acquire, func(st bus.Status) bool { return st.Durable >= 20 })
	args := []string{"--nats", s.url, "--camera", s.Camera, "--name", "disk-a", "--out", s.Out}
	for where, second := range map[string]*programs.Running{
		"the same host":   bin.Start(t, "writer", args...),
		"another's locks": apart(t, "size=64m", append([]string{filepath.Join(bin.Dir, "writer")}, args...)...),
	} {
		res := second.Wait(t)
		if res.Code != 2 || !told(lastLine(res.Stderr), "disk-a") {
			t.Errorf("on %s: exit code %d\n%s", where, res.Code, res.Stderr)
		}
	}
	after := s.await("more durable frames", acquire, func(st bus.Status) bool { return st.Durable > before.Durable+20 })
	if programs.Writers(after)[0] != programs.Writers(before)[0] || s.told(bus.EventMemberLost) {
		t.Errorf("members %+v, then %+v", before.Members, after.Members)
	}
	s.stopped(acquire)
}

// apart starts a program with shared memory of its own.
func apart(t *testing.T, options string, command ...string) *programs.Running {
	t.Helper()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatalf("%v: this test needs util-linux", err)
	}
	script := `mount -t tmpfs -o "$0" sluice-test /dev/shm && exec "$@"`
	p := &programs.Programs{Dir: filepath.Dir(unshare)}
	return p.Start(t, "unshare", append([]string{"--mount", "sh", "-c", script, options}, command...)...)
}

// TestSharedMemory: shared memory that the budget does not fit into is refused when the run is armed, with figures and
// what helps.
func TestSharedMemory(t *testing.T) {
	t.Parallel()
	s := newStation(t, bin, "shm")
	res := apart(t, "size=8m", filepath.Join(bin.Dir, "sluice"), "run", "--json", "--nats", s.url, "--camera", s.Camera, "--out", s.Out,
		"--source", endless, "--budget", "16MiB", "--analyzers", "0").Wait(t)
	if res.Code != 2 || res.Stdout != "" || strings.Count(res.Stderr, "\n") != 1 ||
		!told(res.Stderr, "too little shared memory", "/dev/shm", "bytes free", "the budget needs 17", "smaller --budget", "--shm-size") {
		t.Errorf("exit code %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	if list, err := os.ReadDir(s.Out); err != nil || len(list) != 0 {
		t.Errorf("%v, %v are left", list, err)
	}
}
