package soak_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// sampler looks at every process of a run once a second.
type sampler struct {
	run   *programs.Local
	files func() []string // whose page cache is the writers'
	table *table

	mu      sync.Mutex // guards what follows, which comes over NATS
	status  bus.Status
	members map[string]bus.MemberStatus
	counts  map[bus.BudgetState]int // transitions to each state
}

// processes are those that live as long as the run, but for analyze-2, which is killed again and again.
func processes() []string {
	return []string{"acquire", "writer-1", "writer-2", "analyze-1", "analyze-2", "broker", "run"}
}

// newSampler subscribes to what the run says of itself.
func newSampler(run *programs.Local, t *table, files func() []string) (*sampler, error) {
	s := &sampler{run: run, files: files, table: t, members: map[string]bus.MemberStatus{}, counts: map[bus.BudgetState]int{}}
	if _, err := run.NC.Subscribe(bus.StatusSubject(run.Camera), s.hear); err != nil {
		return nil, err
	}
	if _, err := run.NC.Subscribe(bus.BackpressureSubject(run.Camera), func(m *nats.Msg) {
		var b bus.Backpressure
		if json.Unmarshal(m.Data, &b) == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.counts[b.To]++
		}
	}); err != nil {
		return nil, err
	}
	return s, run.NC.Flush()
}

func (s *sampler) hear(m *nats.Msg) {
	var head bus.Envelope
	if json.Unmarshal(m.Data, &head) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch head.Type {
	case bus.TypeStatus:
		var st bus.Status
		if json.Unmarshal(m.Data, &st) == nil {
			s.status = st
		}
	case bus.TypeMember:
		var st bus.MemberStatus
		if json.Unmarshal(m.Data, &st) == nil {
			s.members[st.Process] = st
		}
	}
}

// transitions are how often the budget went to a state.
func (s *sampler) transitions(to bus.BudgetState) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[to]
}

// troubled reports whether the budget has been throttled and an analyser was started again.
func (s *sampler) troubled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[bus.BudgetThrottled] > 0 && s.members["analyze-2"].Restarts > 0
}

// pid is a process's number, zero where there is none.
func (s *sampler) pid(process string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch process {
	case "acquire":
		return s.status.PID
	case "broker":
		return s.run.Endpoint().PID
	case "run":
		return s.run.PID()
	}
	return s.members[process].PID
}

// goroutines that a process says it has. The broker and `sluice run` don't say.
func (s *sampler) goroutines(process string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if process == "acquire" {
		return s.status.Goroutines
	}
	return s.members[process].Goroutines
}

// columns are what is measured.
func columns() (all []column) {
	for _, f := range []figure{anonymous, openFiles, goroutines, threads, cores} {
		for _, p := range processes() {
			if f != goroutines || p != "broker" && p != "run" {
				all = append(all, column{p, f})
			}
		}
	}
	for _, f := range []figure{pageCache, slabUsed, captured, durable, lost, excursion, full} {
		all = append(all, column{figure: f})
	}
	return all
}

// sample measures until ctx ends.
func (s *sampler) sample(ctx context.Context, start time.Time) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	type reading struct {
		pid int
		cpu float64
		at  time.Time
	}
	before := map[string]reading{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		values := map[column]float64{}
		for _, p := range processes() {
			pid := s.pid(p)
			u, err := usageOf(pid)
			if err != nil {
				continue // it has just been killed
			}
			values[column{p, anonymous}] = u.anon
			values[column{p, openFiles}] = u.files
			values[column{p, threads}] = u.threads
			if b := before[p]; b.pid == pid {
				values[column{p, cores}] = (u.cpu - b.cpu) / now.Sub(b.at).Seconds()
			}
			before[p] = reading{pid, u.cpu, now}
			if n := s.goroutines(p); n > 0 {
				values[column{p, goroutines}] = float64(n)
			}
		}
		values[column{figure: pageCache}] = cached(s.files())
		s.mu.Lock()
		st, counts := s.status, maps.Clone(s.counts)
		s.mu.Unlock()
		values[column{figure: slabUsed}] = float64(st.Budget.Bytes)
		values[column{figure: captured}] = float64(st.Captured)
		values[column{figure: durable}] = float64(st.Durable)
		values[column{figure: lost}] = float64(st.Lost)
		values[column{figure: excursion}] = float64(counts[bus.BudgetThrottled])
		values[column{figure: full}] = float64(counts[bus.BudgetFull])
		if err := s.table.add(now.Sub(start), values); err != nil {
			return err
		}
	}
}

// limits checks what guarantee 1 promises of anonymous memory, at its highest.
func limits(t *table) (over []string) {
	for _, c := range t.columns {
		limit := 128.0 * mib
		if c.process == "acquire" {
			limit = 64 * mib
		}
		if c.figure != anonymous || c.process == "broker" || c.process == "run" {
			continue
		}
		if _, y := t.series(c); len(y) == 0 || slices.Max(y) >= limit {
			over = append(over, fmt.Sprintf("%s: %d values, limit %.0f MiB", c, len(y), limit/mib))
		}
	}
	return over
}

// create makes a file of the report.
func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}
