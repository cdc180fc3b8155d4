package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

func send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestTwoSignals: the first ends the context, the second closes the channel, more do nothing.
func TestTwoSignals(t *testing.T) {
	for _, pair := range [][2]syscall.Signal{
		{syscall.SIGINT, syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGTERM, syscall.SIGINT},
	} {
		ctx, hard, stop := Notify(t.Context())
		if ctx.Err() != nil || closed(hard) {
			t.Error("ended before any signal")
		}
		send(t, pair[0])
		wait(t, "the context's end", ctx.Done())
		if closed(hard) {
			t.Error("one signal counted as two")
		}
		send(t, pair[1])
		wait(t, "the hard end", hard)
		seen := make(chan os.Signal, 1)
		signal.Notify(seen, syscall.SIGINT)
		send(t, syscall.SIGINT)
		<-seen
		signal.Stop(seen)
		stop()
	}
}

// TestHangup: a terminal that goes asks for the end, as often as it likes, and does not insist.
func TestHangup(t *testing.T) {
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGHUP) // first: it is not ignored then, as it is where the tests run under nohup
	defer signal.Stop(seen)
	ctx, hard, stop := Notify(t.Context())
	defer stop()
	for range 3 {
		send(t, syscall.SIGHUP)
		<-seen
	}
	wait(t, "the context's end", ctx.Done())
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	defer signal.Stop(terms)
	for range 2 {
		if closed(hard) {
			t.Error("a hangup insisted")
		}
		send(t, syscall.SIGTERM)
		<-terms
	}
	wait(t, "the hard end", hard)
}

// TestIgnoredHangup: under nohup a terminal may go.
func TestIgnoredHangup(t *testing.T) {
	OutliveTerminal()
	defer signal.Reset(syscall.SIGHUP)
	ctx, _, stop := Notify(t.Context())
	defer stop()
	send(t, syscall.SIGHUP)
	if ctx.Err() != nil || !signal.Ignored(syscall.SIGHUP) {
		t.Errorf("context %v, ignored %v", ctx.Err(), signal.Ignored(syscall.SIGHUP))
	}
}

// TestStop: after stop signals are not ours any more, and the context has ended.
func TestStop(t *testing.T) {
	ctx, hard, stop := Notify(t.Context())
	stop()
	if ctx.Err() == nil || closed(hard) {
		t.Errorf("context %v, hard end %v", ctx.Err(), closed(hard))
	}
	seen := make(chan os.Signal, 2)
	signal.Notify(seen, syscall.SIGTERM)
	defer signal.Stop(seen)
	send(t, syscall.SIGTERM)
	send(t, syscall.SIGTERM)
	<-seen
	if closed(hard) {
		t.Error("a signal after stop counted")
	}
}

// TestParent: the context ends with its parent.
func TestParent(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	ctx, hard, stop := Notify(parent)
	defer stop()
	cancel()
	wait(t, "the context's end", ctx.Done())
	if closed(hard) {
		t.Error("the parent's end counted as a signal")
	}
}
