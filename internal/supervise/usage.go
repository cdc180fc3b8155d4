package supervise

import (
	"context"

	"github.com/sluicedaq/sluice/internal/usage"
)

// CPU is the processor time of the child's lives that are over.
func (c *Child) CPU() usage.CPU {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cpu
}

// PeakAnon is the most anonymous memory, in bytes, that was seen of any of the child's lives.
func (c *Child) PeakAnon() int64 { return c.peak.Bytes() }

// attend waits for the end of a life and takes down what it used.
func (c *Child) attend(l *life) error {
	ctx, cancel := context.WithCancel(context.Background())
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		c.peak.Watch(ctx, l.cmd.Process.Pid)
	}()
	err := l.cmd.Wait()
	cancel()
	<-looked
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := l.cmd.ProcessState; s != nil {
		c.cpu = c.cpu.Add(usage.CPU{User: s.UserTime(), System: s.SystemTime()})
	}
	return err
}
