// Package programs builds Sluice's real programs for end-to-end tests, and runs them.
package programs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
)

// Programs are the built binaries. Build them once, in TestMain.
type Programs struct {
	// Dir is where they lie.
	Dir string
}

// Build builds all programs into a new folder; call Remove in the end. tags are Go build tags: with any, cgo is on.
func Build(tags ...string) (*Programs, error) {
	dir, err := os.MkdirTemp("", "sluice-programs-")
	if err != nil {
		return nil, err
	}
	p := &Programs{Dir: dir}
	if err := p.build(tags); err != nil {
		return nil, errors.Join(err, p.Remove())
	}
	return p, nil
}

func (p *Programs) build(tags []string) error {
	cgo, names := "CGO_ENABLED=0", []string{"acquire", "writer", "analyze", "sluice"}
	if len(tags) > 0 {
		cgo = "CGO_ENABLED=1"
	}
	args := []string{"build", "-tags", strings.Join(tags, ","), "-o", p.Dir + string(filepath.Separator)}
	for _, n := range names {
		args = append(args, "github.com/sluicedaq/sluice/cmd/"+n)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return nil
}

// With returns the same programs in a folder of their own, with the one called name built from another package.
func (p *Programs) With(name, pkg string) (*Programs, error) {
	dir, err := os.MkdirTemp("", "sluice-programs-")
	if err != nil {
		return nil, err
	}
	other := &Programs{Dir: dir}
	list, err := os.ReadDir(p.Dir)
	for _, e := range list {
		if e.Name() != name {
			err = errors.Join(err, os.Link(filepath.Join(p.Dir, e.Name()), filepath.Join(dir, e.Name())))
		}
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, e := cmd.CombinedOutput(); e != nil {
		err = errors.Join(err, fmt.Errorf("building %s: %w\n%s", pkg, e, out))
	}
	if err != nil {
		return nil, errors.Join(err, other.Remove())
	}
	return other, nil
}

// Remove removes the binaries.
func (p *Programs) Remove() error { return os.RemoveAll(p.Dir) }

// Result is how a program ended.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}

// Command prepares a program whose environment has no SLUICE_ variable of ours, and a cache of its own. When the test's context ends it is asked
// to end, and killed where it does not.
func (p *Programs) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.Dir, name), args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SLUICE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+filepath.Join(p.Dir, "cache"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// CommandUnder prepares a program by another command, which must become it: "ip netns exec", Elsewhere.
func (p *Programs) CommandUnder(ctx context.Context, under []string, name string, args ...string) (*exec.Cmd, error) {
	cmd := p.Command(ctx, name, args...)
	if len(under) == 0 {
		return cmd, nil
	}
	path, err := exec.LookPath(under[0])
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	cmd.Path, cmd.Args = path, slices.Concat(under, []string{cmd.Path}, args)
	return cmd, nil
}

// Elsewhere is what makes a program one of another host: it has shared memory of its own. It takes root.
func Elsewhere() []string {
	return []string{"unshare", "-m", "sh", "-c", `mount -t tmpfs -o size=16m none /dev/shm && exec "$0" "$@"`}
}

// Run runs a program to its end.
func (p *Programs) Run(t *testing.T, name string, args ...string) Result {
	t.Helper()
	return p.Start(t, name, args...).Wait(t)
}

// LastLine decodes the JSON object that is the last line of the output into v.
func (r Result) LastLine(t *testing.T, v any) {
	t.Helper()
	out := strings.TrimRight(r.Stdout, "\n")
	last := out[strings.LastIndexByte(out, '\n')+1:]
	if err := json.Unmarshal([]byte(last), v); err != nil {
		t.Fatalf("the last line of the output is no JSON: %v\nexit code %d\nstdout:\n%s\nstderr:\n%s", err, r.Code, r.Stdout, r.Stderr)
	}
}

// Record runs `sluice run --json` with the given options and returns its account. A code other than want fails the
// test.
func (p *Programs) Record(t *testing.T, want int, args ...string) run.Summary {
	t.Helper()
	r := p.Run(t, "sluice", append([]string{"run", "--json"}, args...)...)
	if r.Code != want {
		t.Fatalf("sluice run %q ended with %d, want %d\nstdout:\n%s\nstderr:\n%s", args, r.Code, want, r.Stdout, r.Stderr)
	}
	var s run.Summary
	r.LastLine(t, &s)
	return s
}

// Verification is what `sluice verify --json` says. Corrupt and Missing are kept as they come: how bad frames are
// listed is the command's affair.
type Verification struct {
	OK       bool            `json:"ok"`
	Captured uint64          `json:"captured"`
	Written  uint64          `json:"written"`
	Lost     uint64          `json:"lost"`
	Corrupt  json.RawMessage `json:"corrupt"`
	Missing  json.RawMessage `json:"missing"`
}

// Verify runs `sluice verify` on a store, which must be sound and hold what the summary says.
func (p *Programs) Verify(t *testing.T, s run.Summary) {
	t.Helper()
	r := p.Run(t, "sluice", "verify", s.Store, "--json")
	var v Verification
	r.LastLine(t, &v)
	if !v.OK || v.Captured != s.Captured || v.Written != s.Written || v.Lost != s.Lost {
		t.Errorf("verify says %+v (exit code %d), the summary has captured %d, written %d, lost %d\n%s",
			v, r.Code, s.Captured, s.Written, s.Lost, r.Stderr)
	}
}
