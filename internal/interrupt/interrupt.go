// Package interrupt turns a process's signals into an orderly end: the first asks for it, the second insists.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Notify returns a context that ends with the first SIGINT, SIGTERM or SIGHUP, and a channel that is closed with the
// second SIGINT or SIGTERM. A SIGHUP asks for the end and never insists: a terminal that goes sends several. Where it
// was ignored when the process began, as under nohup, it stays so. stop gives the signals their usual meaning back.
func Notify(parent context.Context) (ctx context.Context, hard <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	again := make(chan struct{})
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; {
			select {
			case <-done:
				return
			case <-hangups:
				cancel()
				continue
			case <-signals:
			}
			switch n++; n {
			case 1:
				cancel()
			case 2:
				close(again)
			}
		}
	})
	return ctx, again, func() {
		signal.Stop(signals)
		signal.Stop(hangups)
		close(done)
		wg.Wait()
		cancel()
	}
}

// Outlive has writes to a pipe that nobody reads any more fail, rather than end the process, and writes from the
// background to a terminal succeed, rather than stop it: what a process records is worth more than what it says.
func Outlive() { signal.Ignore(syscall.SIGPIPE, syscall.SIGTTOU) }

// OutliveTerminal has this process, and those that it starts from now on, go on when its terminal goes.
func OutliveTerminal() { signal.Ignore(syscall.SIGHUP) }
