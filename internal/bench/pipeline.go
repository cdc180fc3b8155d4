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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/run"
)

// stopTime is how long a run may take to end when it is to stop at once; then it is killed, and its children end with it.
const stopTime = 30 * time.Second

// pipeline records runs with the real programs: camera → acquire → writer → disk, and away with the store.
type pipeline struct {
	sluice  string // the path of the program
	dir     string
	scene   scene
	pattern string
	args    []string // of sluice run, beside those that run adds
}

func (o Options) pipeline(s scene, pattern string, args ...string) *pipeline {
	return &pipeline{o.Sluice, o.Dir, s, pattern, append(args, "--budget", config.ByteSize(o.Budget).String())}
}

// account is what one run said, and how often the disk has flushed its cache meanwhile.
type account struct {
	run.Summary
	flushes uint64
}

// flushesPerGB is for each GB of pixels.
func (a account) flushesPerGB() float64 { return float64(a.flushes) / (float64(a.Bytes) / gb) }

// perSec is the bytes of pixels a second, from the first capture to the last durable frame.
func (a account) perSec() float64 { return float64(a.Bytes) / a.Seconds }

// cpuPerGB is the processor time of all processes, in seconds for each GB of pixels.
func (a account) cpuPerGB() float64 {
	s := 0.0
	for _, p := range a.Processes {
		s += p.CPUSeconds()
	}
	return s / (float64(a.Bytes) / gb)
}

// run records n frames at fps frames a second, 0 for as fast as the camera can. An error has the exit code and the words
// of the program.
func (p *pipeline) run(ctx context.Context, n int, fps float64) (a account, err error) {
	out, err := os.MkdirTemp(p.dir, "bench-")
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, clearAway(ctx, p.dir, out)) }()
	args := append([]string{
		"run", "--json", "--camera", "bench-" + strings.ToLower(rand.Text()[:8]), "--source", p.scene.source(p.pattern, fps), "--out", out,
		"--frames", strconv.Itoa(n), "--force", // whether there is room was asked before
	}, p.args...)
	cmd := exec.CommandContext(ctx, p.sluice, args...)
	// The first asks for a drain, the second gives it up. Ctrl-C in a terminal must not reach the run besides.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		return errors.Join(cmd.Process.Signal(syscall.SIGINT), cmd.Process.Signal(syscall.SIGTERM))
	}
	cmd.WaitDelay = stopTime
	before := flushes(p.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return a, ctx.Err()
		}
		return a, exit.Errorf(max(cmd.ProcessState.ExitCode(), exit.Internal), "recording a run: %s (%w)",
			strings.TrimPrefix(string(lastLine(stderr.Bytes())), "sluice: "), err)
	}
	if err := json.Unmarshal(lastLine(stdout.Bytes()), &a.Summary); err != nil {
		return a, fmt.Errorf("the account of a run: %w", err)
	}
	a.flushes = flushes(p.dir) - before
	if a.Written != uint64(n) || a.Seconds <= 0 {
		return a, fmt.Errorf("%d of %d frames were written, in %g s", a.Written, n, a.Seconds)
	}
	return a, nil
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
