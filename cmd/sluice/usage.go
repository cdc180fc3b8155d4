package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/monitor"
	runpkg "github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/usage"
)

// meter takes down what the processes of a run use. Its methods may be called concurrently.
type meter struct {
	own   usage.Peak
	began usage.CPU
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	stated map[string]int64 // guarded by mu: the memory that members said they take, by name
}

// newMeter begins. Close it.
func newMeter() *meter {
	ctx, cancel := context.WithCancel(context.Background())
	m := &meter{stop: cancel, began: usage.Own(), stated: map[string]int64{}}
	m.wg.Go(func() { m.own.Watch(ctx, os.Getpid()) })
	return m
}

func (m *meter) close() {
	m.stop()
	m.wg.Wait()
}

// look takes down what the members of a status say of themselves.
func (m *meter) look(s bus.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range s.Members {
		m.stated[b.Name] = max(m.stated[b.Name], b.BufferBytes)
	}
}

// processes is what each process of the crew has used, this one the last. The children are over.
func (m *meter) processes(c *crew) []runpkg.Process {
	m.mu.Lock()
	stated := maps.Clone(m.stated)
	m.mu.Unlock()
	account := func(name string, cpu usage.CPU, peak, limit int64) runpkg.Process {
		return runpkg.Process{
			Name: name, UserSeconds: cpu.User.Seconds(), SystemSeconds: cpu.System.Seconds(), PeakAnonBytes: peak, LimitBytes: limit,
		}
	}
	list := []runpkg.Process{}
	if a := c.acquire; a != nil {
		list = append(list, account(a.Name(), a.CPU(), a.PeakAnon(), runpkg.AcquireLimit))
	}
	for _, k := range c.members {
		list = append(list, account(k.Name(), k.CPU(), k.PeakAnon(), runpkg.MemberLimit+stated[k.Name()]))
	}
	if s := c.server; s != nil {
		list = append(list, account(s.Name(), s.CPU(), s.PeakAnon(), 0))
	}
	return append(list, account("run", usage.Own().Sub(m.began), m.own.Bytes(), 0))
}

// printProcesses tells people what the processes of a run have used.
func printProcesses(w io.Writer, s runpkg.Summary) {
	for _, p := range s.Processes {
		cpu := fmt.Sprintf("%.2f CPU s", p.CPUSeconds())
		if s.Bytes > 0 {
			cpu += fmt.Sprintf(" (%.3f a GB)", p.CPUSeconds()/(float64(s.Bytes)/1e9))
		}
		memory := monitor.Bytes(p.PeakAnonBytes)
		if p.LimitBytes > 0 {
			memory += " of " + monitor.Bytes(p.LimitBytes)
		}
		fmt.Fprintf(w, "  %-10s %s, memory beside the slab at most %s\n", p.Name, cpu, memory)
	}
}
