//go:build stack

package stack_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// caller is the user, and the group, whose checkout it is: neither root nor the one of .env.example.
const caller = 4321

// project is a checkout that deploy/prepare has prepared, and its stack.
type project struct {
	*engine
	dir string
}

// newProject copies this checkout for the caller, with what is not committed yet.
func newProject(e *engine) *project {
	e.t.Helper()
	home, err := os.MkdirTemp("", "sluice-stack-") // a test's own folder lets nobody else in
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			e.t.Error(err)
		}
	})
	p := &project{e, filepath.Join(home, "sluice")}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		e.t.Fatal(err)
	}
	files := exec.Command("sh", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$0"`, p.dir)
	files.Dir = root
	output(e.t, files)
	output(e.t, exec.Command("chown", "--recursive", "4321:4321", home))
	prepare := exec.Command(filepath.Join(p.dir, "deploy", "prepare"))
	prepare.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: caller, Gid: caller}}
	output(e.t, prepare)
	e.t.Cleanup(func() {
		if e.t.Failed() {
			log, _ := e.compose(p, "logs", "--no-color", "--tail", "60").CombinedOutput()
			e.t.Logf("%s\n%s", e.docker("ps", "--all"), log)
		}
	})
	return p
}

// compose is docker-compose for the project.
func (e *engine) compose(p *project, args ...string) *exec.Cmd {
	cmd := e.command("docker-compose", args...)
	cmd.Dir = p.dir
	return cmd
}

// do runs docker-compose.
func (p *project) do(args ...string) {
	p.t.Helper()
	output(p.t, p.compose(p, args...))
}

// operator runs a command of sluice's as the operator, and returns how it ended.
func (p *project) operator(args ...string) programs.Result {
	p.t.Helper()
	cmd := p.compose(p, append([]string{"run", "--rm", "-T", "--no-deps", "operator"}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its code tells
	return programs.Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// status asks the camera.
func (p *project) status() bus.Status {
	p.t.Helper()
	r := p.operator("ctl", "cam0", "status", "--json")
	if r.Code != 0 {
		p.t.Fatalf("status: %+v", r)
	}
	var s bus.Status
	r.LastLine(p.t, &s)
	return s
}

// until asks the camera until its status is as wanted, and returns that.
func (p *project) until(what string, yes func(bus.Status) bool) (s bus.Status) {
	p.t.Helper()
	programs.Eventually(p.t, patience, what, func() bool {
		s = p.status()
		return yes(s)
	})
	return s
}

// container is what the engine says of one.
type container struct {
	ID    string `json:"Id"`
	State struct {
		Status    string
		ExitCode  int
		OOMKilled bool
		Health    *struct{ Status string }
	}
	Config     struct{ Hostname string }
	HostConfig struct{ Memory int64 }
}

// containers are those of a service, stopped ones too.
func (p *project) containers(service string) (list []container) {
	p.t.Helper()
	ids := strings.Fields(p.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.service="+service, "--filter", "label=com.docker.compose.oneoff=False"))
	if len(ids) == 0 {
		return nil
	}
	if err := json.Unmarshal([]byte(p.docker(append([]string{"inspect"}, ids...)...)), &list); err != nil {
		p.t.Fatal(err)
	}
	return list
}

// healthy waits until a service has so many containers, all of them healthy.
func (p *project) healthy(service string, want int) {
	p.t.Helper()
	programs.Eventually(p.t, patience, service+" is healthy", func() bool {
		list := p.containers(service)
		for _, c := range list {
			if c.State.Health == nil || c.State.Health.Status != "healthy" {
				return false
			}
		}
		return len(list) == want
	})
}

// owned checks that all below a folder is the caller's.
func owned(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != caller || s.Gid != caller {
			t.Errorf("%s is %d:%d's", path, s.Uid, s.Gid)
		}
		return nil
	})
	if err != nil || files < 2 {
		t.Errorf("%d files in %s: %v", files, dir, err)
	}
}
