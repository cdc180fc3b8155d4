package chaos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

func itoa(n int) string { return strconv.Itoa(n) }

// byHand are processes that were started one by one. Who runs them starts them again when they die, and knows nothing
// of runs.
type byHand struct {
	r        *round
	ctx      context.Context // ends when the processes are to end
	end      context.CancelFunc
	keeping  sync.WaitGroup
	over     chan struct{} // closed when the run is over
	stopping chan struct{} // closed when a user wants the run's end
	once     sync.Once

	mu   sync.Mutex // guards what follows
	log  bytes.Buffer
	died []string
	wait *programs.Result
	// unanswered are the starts of which nobody said whether they began a run.
	unanswered int
}

// byHand starts acquire, the writers and the analysers, and operates them.
func (r *round) byHand() crew {
	h := &byHand{r: r, over: make(chan struct{}), stopping: make(chan struct{})}
	h.ctx, h.end = context.WithCancel(context.WithoutCancel(r.t.Context()))
	common := append([]string{"--nats", r.broker.url(), "--camera=" + r.Camera}, r.plan.link...)
	for _, name := range r.plan.names("writer", r.plan.writers) {
		h.keeping.Go(func() { h.member("writer", name, append([]string{"--out", r.Out}, common...)) })
	}
	for _, name := range r.plan.names("analyze", r.plan.analysers) {
		h.keeping.Go(func() { h.member("analyze", name, common) })
	}
	require := "writer=" + itoa(r.plan.writers)
	if r.plan.analysers > 0 {
		require += ",analyze=" + itoa(r.plan.analysers)
	}
	args := append(append([]string{"--require", require}, common...), r.plan.capture...)
	if r.plan.way == startsOnce {
		h.keeping.Go(func() {
			defer close(h.over)
			h.keep(nil, "acquire", append(args, "--start"), func(code int) bool { return code == 0 || code == 3 })
		})
		return h
	}
	h.keeping.Go(func() { h.keep(nil, "acquire", args, nil) })
	h.keeping.Go(func() {
		defer close(h.over)
		h.operate()
	})
	return h
}

// member keeps a writer or an analyser, on the host that the plan has it on.
func (h *byHand) member(program, name string, args []string) {
	args = append([]string{"--name=" + name}, args...)
	if s := h.r.plan.streams; s != nil {
		a := s.away[name]
		h.keep(a.under(), program, append(args, a.options...), nil)
		return
	}
	h.keep(nil, program, args, nil)
}

// keep runs a program, by another command where there is one, again whenever it was killed, until it ends as ends says or is asked to.
func (h *byHand) keep(under []string, program string, args []string, ends func(code int) bool) {
	for h.ctx.Err() == nil {
		var out bytes.Buffer
		cmd, err := bin.CommandUnder(h.ctx, under, program, args...)
		if err != nil {
			h.r.t.Error(err)
			return
		}
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err = cmd.Run()
		h.mu.Lock()
		fmt.Fprintf(&h.log, "%s %s ended: %v\n%s", time.Now().Format("15:04:05.000"), program, err, out.String())
		h.mu.Unlock()
		var ee *exec.ExitError
		switch status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); {
		case h.ctx.Err() != nil:
			return
		case errors.As(err, &ee) && status.Signaled() && status.Signal() == syscall.SIGKILL:
		case ends != nil && ends(cmd.ProcessState.ExitCode()):
			return
		default:
			h.mu.Lock()
			h.died = append(h.died, fmt.Sprintf("%s: %v: %s", program, err, lastLine(out.String())))
			h.mu.Unlock()
			if ends != nil {
				return
			}
		}
		pause(h.ctx, 100*time.Millisecond)
	}
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// operate has a run recorded with `sluice ctl`, as somebody does who looks what became of each command.
func (h *byHand) operate() {
	h.begin()
	h.keeping.Go(func() {
		select {
		case <-h.stopping:
			for h.ctl("stop").Code != 0 && h.ctx.Err() == nil && slices.Contains([]bus.State{bus.StateRunning, bus.StatePaused}, h.r.watch.status().State) {
				pause(h.ctx, 50*time.Millisecond)
			}
		case <-h.over:
		case <-h.ctx.Done():
		}
	})
	for h.ctx.Err() == nil { // until it is over
		res := h.ctl("wait", "--json")
		if res.Code == 0 && res.Stdout == "" && h.r.killedAcquire() && !h.r.finished() { // it died with its acquire, before it had a frame
			pause(h.ctx, 50*time.Millisecond)
			h.begin()
			continue
		}
		if res.Code == 0 || res.Code == 3 || strings.Contains(res.Stdout, "ended_by") {
			h.mu.Lock()
			h.wait = &res
			h.mu.Unlock()
			return
		}
		pause(h.ctx, 100*time.Millisecond)
	}
}

// begin arms and starts until a run has begun.
func (h *byHand) begin() {
	for h.ctx.Err() == nil {
		st := h.r.watch.status()
		if st.State == bus.StateRunning || st.State == bus.StatePaused || st.State == bus.StateDraining || st.LastRun != nil || st.Captured > 0 {
			break
		}
		if st.State == bus.StateIdle {
			h.ctl("arm")
		}
		if h.ctl("start").Code == 0 { // no status may ever tell of it: acquire may die before the broker hears again
			break
		}
		pause(h.ctx, 50*time.Millisecond)
	}
}

// ctl runs `sluice ctl CAMERA …`. An answer that an acquire did not live to give is not waited for very long, except
// by wait.
func (h *byHand) ctl(args ...string) programs.Result {
	ctx := h.ctx
	if args[0] != "wait" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
	}
	var out, errs bytes.Buffer
	cmd := bin.Command(ctx, "sluice", append([]string{"ctl", h.r.Camera, "--nats", h.r.broker.url()}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err := cmd.Run()
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(&h.log, "%s ctl %q: %v %s%s", time.Now().Format("15:04:05.000"), args, err, out.String(), errs.String())
	code := -1
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	if args[0] == "start" && code != 0 && ctx.Err() != nil && h.ctx.Err() == nil {
		h.unanswered++
	}
	return programs.Result{Code: code, Stdout: out.String(), Stderr: errs.String()}
}

func (h *byHand) supervisor() int { return 0 }

func (h *byHand) stop() { h.once.Do(func() { close(h.stopping) }) }

func (h *byHand) done() <-chan struct{} { return h.over }

func (h *byHand) finish(bool) outcome {
	h.end()
	h.keeping.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return outcome{result: h.wait, died: h.died, unanswered: h.unanswered, log: h.log.String()}
}
