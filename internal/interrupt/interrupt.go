// Package interrupt turns a process's signals into an orderly end: the first asks for it, the second insists.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Notify returns a context that ends with the first SIGINT or SIGTERM, and a channel that is closed with the second.
// stop gives the signals their usual meaning back.
func Notify(parent context.Context) (ctx context.Context, hard <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	again := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			switch n {
			case 1:
				cancel()
			case 2:
				close(again)
			}
		}
	})
	return ctx, again, func() {
		signal.Stop(signals)
		close(done)
		wg.Wait()
		cancel()
	}
}
