package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/exit"
)

// The test binary plays the children: CHILD says which.
func TestMain(m *testing.M) {
	if role := os.Getenv("CHILD"); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

func play(role string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, stopWatch, err := WatchParent(ctx, os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return exit.Code(err)
	}
	defer stopWatch()
	switch role {
	case "good": // says that it is there, and why it goes
		fmt.Fprintln(os.Stdout, "up", os.Getpid(), os.Getenv("SLUICE_RESTARTS"), syscall.Getpgrp() == os.Getpid())
		<-ctx.Done()
		fmt.Fprintln(os.Stdout, "down:", context.Cause(ctx))
		return 0
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "up")
		<-make(chan struct{})
	case "wrong":
		fmt.Fprintln(os.Stdout, "child: --out: not a folder")
		return exit.Usage
	case "panics":
		if os.Getenv("SLUICE_RESTARTS") == "0" {
			panic("at the disco")
		}
		fmt.Fprintln(os.Stdout, "up again")
		<-ctx.Done()
		return 0
	case "weak":
		fmt.Fprintln(os.Stdout, "ouch")
		return 1
	case "loud":
		for i := range 10000 {
			fmt.Fprintln(os.Stdout, "line", i)
		}
		<-ctx.Done()
		return 0
	case "parent": // a supervisor that is killed by the test
		g, err := NewGroup()
		if err != nil {
			return 1
		}
		if _, err := g.Start(Spec{Name: "kid", Path: os.Args[0], Env: []string{"CHILD=orphan", "OUT=" + os.Getenv("OUT")}, Lines: func(string) {}}); err != nil {
			return 1
		}
		<-make(chan struct{})
	case "orphan":
		f, err := os.OpenFile(os.Getenv("OUT"), os.O_WRONLY, 0)
		if err != nil {
			return 1
		}
		fmt.Fprintln(f, "up")
		<-ctx.Done()
		fmt.Fprintln(os.Stdout, "nobody reads this, and it must not kill us")
		fmt.Fprintln(os.Stderr, "nor this")
		fmt.Fprintln(f, "down:", context.Cause(ctx))
		return 0
	}
	return 1
}

// start starts a child that plays role; its lines come out of the channel.
func start(t *testing.T, role string) (*Child, <-chan string) {
	t.Helper()
	g, err := NewGroup()
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1000)
	c, err := g.Start(Spec{Name: role, Path: os.Args[0], Env: []string{"CHILD=" + role}, Lines: func(s string) { said <- s }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background()) // the test's own has ended by now
		cancel()
		_ = c.Stop(ctx) // what it died of is the test's affair
		g.Close()
	})
	return c, said
}

func next(t *testing.T, said <-chan string) string {
	t.Helper()
	select {
	case s := <-said:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("the child says nothing")
		return ""
	}
}

func TestStop(t *testing.T) {
	c, said := start(t, "good")
	if got, want := next(t, said), fmt.Sprint("up ", c.PID(), " 0 true"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := next(t, said); got != "down: terminated signal received" && got != "down: context canceled" {
		t.Errorf("%q", got)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error("the second time:", err)
	}
}

func TestRestart(t *testing.T) {
	c, said := start(t, "good")
	for n := range 3 {
		var pid, restarts int
		if _, err := fmt.Sscanf(next(t, said), "up %d %d", &pid, &restarts); err != nil || restarts != n {
			t.Fatalf("life %d: restarts %d, %v", n, restarts, err)
		}
		if n < 2 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.Restarts() != 2 {
		t.Errorf("%d restarts", c.Restarts())
	}
	two := c.CPU()
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	// Of two lives, and then of all three.
	if all := c.CPU(); two.Seconds() <= 0 || all.Seconds() <= two.Seconds() || c.PeakAnon() <= 0 {
		t.Errorf("%+v, %+v, %d bytes", two, all, c.PeakAnon())
	}
}

func TestPanicIsNoBadUsage(t *testing.T) {
	c, said := start(t, "panics")
	for line := next(t, said); line != "up again"; line = next(t, said) {
		if line == "panic: at the disco" && c.Restarts() != 0 {
			t.Error("the panic came late")
		}
	}
	if c.Restarts() != 1 {
		t.Errorf("%d restarts", c.Restarts())
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStopKillsInTheEnd(t *testing.T) {
	c, said := start(t, "stubborn")
	next(t, said)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Stop(ctx); !errors.Is(err, ErrKilled) || !strings.HasPrefix(err.Error(), "stubborn did not stop") {
		t.Errorf("%v", err)
	}
	if err := syscall.Kill(c.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestBadUsageIsFinal(t *testing.T) {
	c, _ := start(t, "wrong")
	<-c.Done()
	if err := c.Err(); exit.Code(err) != exit.Usage || err.Error() != "wrong (exit status 2): child: --out: not a folder" || c.Restarts() != 0 {
		t.Errorf("%v after %d restarts", err, c.Restarts())
	}
}

func TestGivesUp(t *testing.T) {
	c, _ := start(t, "weak")
	<-c.Done()
	if err := c.Err(); !errors.Is(err, ErrGaveUp) || exit.Code(err) != exit.Unavailable || c.Restarts() != maxDeaths-1 || !strings.HasSuffix(err.Error(), ": ouch") {
		t.Errorf("%v after %d restarts", err, c.Restarts())
	}
}

func TestStopWhileWaitingToRestart(t *testing.T) {
	c, said := start(t, "weak")
	for range 4 {
		next(t, said)
	}
	if err := c.Stop(t.Context()); err != nil && exit.Code(err) != exit.Internal {
		t.Error(err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	c, said := start(t, "loud")
	for range linesAtOnce {
		next(t, said)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(said); n > 3*linesPerSecond*20 {
		t.Errorf("%d more lines", n)
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := newLines(func(s string) { got = append(got, s) })
	fmt.Fprint(l, "one\ntw")
	fmt.Fprint(l, "o\n\n", strings.Repeat("x", 2*maxLine), "\nrest")
	l.flush()
	want := []string{"one", "two", strings.Repeat("x", maxLine), "rest"}
	if strings.Join(got, "|") != strings.Join(want, "|") || l.lastLine() != "rest" {
		t.Errorf("%q", got)
	}
}

func TestParentKilled(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if err := syscall.Mkfifo(out, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = []string{"CHILD=parent", "OUT=" + out}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said := bufio.NewScanner(f)
	if !said.Scan() || said.Text() != "up" {
		t.Fatalf("%q, %v", said.Text(), said.Err())
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	if !said.Scan() || said.Text() != "down: the supervisor is gone" {
		t.Errorf("%q, %v", said.Text(), said.Err())
	}
}

func TestWatchParentRefusesOtherFiles(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, v := range []string{"x", "0", "9999", strconv.Itoa(int(f.Fd()))} {
		if _, _, err := WatchParent(t.Context(), func(string) string { return v }); exit.Code(err) != exit.Usage {
			t.Errorf("%s: %v", v, err)
		}
	}
	ctx, stop, err := WatchParent(t.Context(), func(string) string { return "" })
	if err != nil || ctx != t.Context() {
		t.Errorf("without a supervisor: %v", err)
	}
	stop()
}

func TestSibling(t *testing.T) {
	if _, err := Sibling("no-such-program"); !errors.Is(err, ErrNotThere) || exit.Code(err) != exit.Usage {
		t.Errorf("%v", err)
	}
	if path, err := Sibling(filepath.Base(os.Args[0])); err != nil || !filepath.IsAbs(path) {
		t.Errorf("%q, %v", path, err)
	}
	g, err := NewGroup()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Start(Spec{Name: "x", Path: "/nowhere", Lines: func(string) {}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestLinesLeftOut: what is left out is told in a line of its own, and the others come as they were written.
func TestLinesLeftOut(t *testing.T) {
	var got []string
	l := newLines(func(line string) { got = append(got, line) })
	for range linesAtOnce + 5 {
		if _, err := l.Write([]byte(`{"msg":"x"}` + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	l.limit.SetLimit(rate.Inf)
	if _, err := l.Write([]byte(`{"msg":"last"}` + "\n")); err != nil {
		t.Fatal(err)
	}
	n := len(got)
	if n < linesAtOnce+2 || got[0] != `{"msg":"x"}` || !strings.HasSuffix(got[n-2], " lines left out") || got[n-1] != `{"msg":"last"}` {
		t.Errorf("%d lines, the last two %q", n, got[max(0, n-2):])
	}
}
