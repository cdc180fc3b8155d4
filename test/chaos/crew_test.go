package chaos_test

import (
	"syscall"
	"time"

	"github.com/sluicedaq/sluice/test/programs"
)

// crew runs a round's processes.
type crew interface {
	// supervisor is the process that starts the others again, 0 where that is the test.
	supervisor() int
	// stop asks for the run's end, as a user does.
	stop()
	// done is closed when the run is over.
	done() <-chan struct{}
	// finish ends what is left; hung says that the run is not over.
	finish(hung bool) outcome
}

// outcome is how a round ended, as far as its processes said.
type outcome struct {
	// result is that of `sluice run`, or of the last `sluice ctl wait`; nil where there is neither.
	result *programs.Result
	// died are processes that ended without being killed or asked.
	died []string
	// unanswered are the `sluice ctl start` that had no answer: each may have begun a run beside the one that is waited for.
	unanswered int
	log        string
}

func (r *round) start() crew {
	switch r.plan.way {
	case operated, startsOnce:
		return r.byHand()
	}
	args := append(append([]string{}, r.plan.capture...), r.plan.link...)
	args = append(args, "--writers", itoa(r.plan.writers), "--analyzers", itoa(r.plan.analysers))
	if r.broker != nil {
		args = append(args, "--nats", r.broker.url())
	}
	return &supervised{r: r, program: r.Launch(args...)}
}

// supervised is `sluice run`.
type supervised struct {
	r       *round
	program *programs.Running
}

func (s *supervised) supervisor() int { return s.program.PID() }

func (s *supervised) stop() { _ = syscall.Kill(s.program.PID(), syscall.SIGINT) }

func (s *supervised) done() <-chan struct{} { return s.program.Done() }

func (s *supervised) finish(hung bool) outcome {
	if hung {
		select {
		case <-s.program.Done(): // its stacks were asked for
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(s.program.PID(), syscall.SIGKILL)
		}
	}
	res := s.program.Wait(s.r.t)
	return outcome{result: &res, log: res.Stdout + res.Stderr}
}
