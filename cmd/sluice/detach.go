package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/interrupt"
)

// detach starts the run in a session of its own and returns when it has begun, or with the error for which it has not.
func (r *runCmd) detach(ctx context.Context, p *process) error {
	dir, err := broker.Dir(p.getenv)
	if err != nil {
		return &exit.Error{Code: exit.Usage, Err: err}
	}
	place := broker.At(dir, string(r.Camera.Camera))
	if goesOn, _, err := lookAtRun(place); err != nil || goesOn {
		return errors.Join(err, exit.Errorf(exit.Usage, "%w: %s; see sluice ctl %s status", broker.ErrHeld, r.Camera.Camera, r.Camera.Camera))
	}
	interrupt.OutliveTerminal() // the run inherits that
	cmd, told, err := launchDetached(place.LogFile(), p.args)
	if err != nil {
		return err
	}
	defer told.Close()
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-over:
			return
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		}
		select {
		case <-over:
		case <-p.hard:
			_ = cmd.Process.Kill()
		}
	}()
	run, err := r.awaitStart(p, told)
	close(over)
	<-watched
	if errors.Is(err, errUntold) {
		waited := cmd.Wait()
		return exit.Errorf(exit.Code(err), "%w (%w): see %s", err, waited, place.LogFile())
	}
	if err != nil {
		_ = cmd.Wait() // it told why
		return err
	}
	if err := cmd.Process.Release(); err != nil {
		return fmt.Errorf("letting go of the run: %w", err)
	}
	if r.JSON {
		return printJSON(p.stdout, run)
	}
	nats := ""
	if r.NATS.NATS != "" {
		nats = " --nats URL"
	}
	_, err = fmt.Fprintf(p.stdout, `run %[1]s goes on without this terminal
  camera %[2]s, process %[3]d
  store  %[4]s
  log    %[5]s
  watch  sluice monitor %[2]s%[6]s
  stop   sluice ctl %[2]s stop%[6]s
  wait   sluice ctl %[2]s wait
`, run.Run.Short(), run.Camera, run.PID, run.Store, run.Log, nats)
	return err
}

// launchDetached starts this program with the same arguments, for the run itself, and returns what it tells.
func launchDetached(log string, args []string) (*exec.Cmd, *os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("detaching: %w", err)
	}
	// The log of the run before is kept, as the earlier part.
	if err := os.Rename(log, log+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("detaching: %w", err)
	}
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("detaching: %w", err)
	}
	defer out.Close()
	told, tells, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("detaching: %w", err)
	}
	defer tells.Close()
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), config.DetachedVar+"=3")
	cmd.ExtraFiles = []*os.File{tells} // becomes descriptor 3
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("detaching: %w", err), told.Close())
	}
	return cmd, told, nil
}

// awaitStart passes on what the run says until it has begun. The error wraps errUntold where it ended without a word.
func (r *runCmd) awaitStart(p *process, told io.Reader) (*detachedRun, error) {
	lines := bufio.NewScanner(told)
	for lines.Scan() {
		var n news
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return nil, fmt.Errorf("reading what the run says: %w", err)
		}
		switch {
		case n.Started != nil:
			return n.Started, nil
		case n.Failed != nil:
			return nil, n.Failed.err()
		default:
			fmt.Fprintln(p.stderr, strings.TrimSpace(n.Say))
		}
	}
	return nil, errors.Join(errUntold, lines.Err())
}
