package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/sluicedaq/sluice/internal/run"
)

// pipeline records runs with the real programs: camera → acquire → writer → disk, and away with the store.
type pipeline struct {
	sluice string // the path of the program
	dir    string
	args   []string // of sluice run, beside those that run adds
}

// account is what one run said and used.
type account struct {
	run.Summary
	cpu float64 // seconds of all its processes
}

// perSec is the bytes of pixels a second, from the first capture to the last durable frame.
func (a account) perSec() float64 { return float64(a.Bytes) / a.Seconds }

// cpuPerGB is in seconds for 10⁹ bytes.
func (a account) cpuPerGB() float64 { return a.cpu / (float64(a.Bytes) / 1e9) }

// run records n frames. The error has the program's own words.
func (p *pipeline) run(ctx context.Context, n int) (a account, err error) {
	out, err := os.MkdirTemp(p.dir, "bench-")
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	args := append([]string{
		"run", "--json", "--camera", "bench-" + strings.ToLower(rand.Text()[:8]), "--out", out, "--frames", strconv.Itoa(n),
	}, p.args...)
	cmd := exec.CommandContext(ctx, p.sluice, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has children to stop
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("%s %s: %w: %s", filepath.Base(p.sluice), strings.Join(args, " "), err, lastLine(stderr.Bytes()))
	}
	if err := json.Unmarshal(lastLine(stdout.Bytes()), &a.Summary); err != nil {
		return a, fmt.Errorf("the summary of %s: %w", filepath.Base(p.sluice), err)
	}
	if a.Written != uint64(n) || a.Seconds <= 0 {
		return a, fmt.Errorf("%d of %d frames were written, in %g s", a.Written, n, a.Seconds)
	}
	// What wait tells of a process includes the children that it has waited for.
	a.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return a, nil
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
