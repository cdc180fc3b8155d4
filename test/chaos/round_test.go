package chaos_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/test/programs"
)

const (
	// patience bounds a round: it takes a tenth of this on an idle machine.
	patience = 2 * time.Minute
	// slow is when what happened in a round is told although it ended well.
	slow = 25 * time.Second
	// lookEvery is how often a fault looks whether its moment has come.
	lookEvery = 3 * time.Millisecond
)

// round is a plan that is being played.
type round struct {
	*programs.Station
	t      *testing.T
	plan   plan
	crew   crew
	broker *outside // nil where the run has its own
	watch  *watch

	mu    sync.Mutex // guards what follows
	tried []tried
	kills int // of processes that are started again
	acted []string
}

// tried is a fault that fell.
type tried struct {
	kind kind
	at   time.Time
	// captured and atRisk are the frames that the run had then, and those of them that were not released.
	captured, atRisk uint64
}

// play plays a round, and says what became of it.
func play(t *testing.T, p plan) result {
	t.Helper()
	t.Logf("SLUICE_CHAOS_SEED=%d: %s", p.seed, p)
	r := &round{Station: programs.NewStation(t, bin, "chaos"), t: t, plan: p}
	url := r.BrokerURL
	if p.way != ownBroker {
		servers := 1
		if p.streams != nil {
			servers = p.streams.servers
		}
		r.broker = newOutside(t, servers, p.streams != nil)
		url = r.broker.url
	}
	r.watch = newWatch(r.Camera, url)
	began := time.Now()
	r.crew = r.start()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { r.watch.run(ctx) })
	for _, f := range p.faults {
		working.Go(func() { r.strike(ctx, f) })
	}
	if p.stopAt > 0 {
		working.Go(func() { r.stopEarly(ctx) })
	}
	hung := false
	select {
	case <-r.crew.done():
	case <-time.After(patience):
		hung = true
	}
	cancel()
	working.Wait()
	if hung {
		t.Errorf("no end after %s\n%s\nthe newest status, %s old: %+v", patience, strings.Join(r.acted, "\n"), r.watch.age(), r.watch.status())
		stacks(t, processes(r.Camera, r.crew.supervisor()), r.crew.supervisor())
	}
	out := r.crew.finish(hung)
	r.sweep()
	res := r.judge(out, hung)
	if took := time.Since(began); t.Failed() || took > slow || os.Getenv("SLUICE_CHAOS_SEED") != "" {
		t.Logf("%s\n%s\n%s", p, strings.Join(r.acted, "\n"), out.log)
	}
	t.Logf("%s: %s", time.Since(began).Round(time.Millisecond), res)
	return res
}

// note keeps what was done, for when it is to be explained.
func (r *round) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.watch.status()
	r.acted = append(r.acted, fmt.Sprintf("%s %s (%s, captured %d, durable %d, in flight %d)", time.Now().Format("15:04:05.000"),
		fmt.Sprintf(format, args...), st.State, st.Captured, st.Durable, st.InFlight))
}

// until waits for a moment; false says that the round was over before.
func (r *round) until(ctx context.Context, come func() bool) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !come() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// pause waits for a time; it is cut short when the round is over.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// come reports whether a fault's phase is there.
func (r *round) come(f fault) bool {
	st := r.watch.status()
	share := uint64(f.share * float64(r.plan.frames))
	switch f.phase {
	case atArming:
		return r.pid("acquire") != 0
	case atCreation:
		list, _ := filepath.Glob(filepath.Join(r.Out, "*.zarr"))
		return len(list) > 0
	case atCaptured:
		return st.Captured > share
	case atDurable:
		return st.Durable > share
	case atDraining:
		return st.State == bus.StateDraining || r.watch.told(bus.EventStopping)
	case atDrained:
		return r.watch.told(bus.EventDrained, bus.EventFinished) || st.State == bus.StateDraining && st.Durable+st.Lost >= st.Captured
	}
	return true
}

// pid is the process of a name, 0 while there is none.
func (r *round) pid(name string) int {
	if name == "broker" && r.broker != nil {
		return r.broker.pid()
	}
	for _, p := range processes(r.Camera, r.crew.supervisor()) {
		if p.name == name {
			return p.pid
		}
	}
	return 0
}

// stopEarly is a user who ends the run.
func (r *round) stopEarly(ctx context.Context) {
	if r.until(ctx, func() bool { return r.watch.status().Captured > uint64(r.plan.stopAt*float64(r.plan.frames)) }) {
		r.note("asked to stop")
		r.crew.stop()
	}
}

// strike plays a fault when its moment comes. One whose moment does not come is not played.
func (r *round) strike(ctx context.Context, f fault) {
	pids := make([]int, len(f.victims))
	if !r.until(ctx, func() bool { return r.come(f) }) || !pause(ctx, f.delay) {
		return
	}
	if f.backlog > 0 {
		defer r.holdWriters(ctx, f.backlog)()
	}
	if !r.until(ctx, func() bool {
		for i, name := range f.victims {
			pids[i] = r.pid(name)
		}
		return !slices.Contains(pids, 0)
	}) {
		return
	}
	st := r.watch.status()
	r.mu.Lock()
	r.tried = append(r.tried, tried{r.plan.streams.name(f.kind), time.Now(), st.Captured, st.InFlight})
	r.mu.Unlock()
	r.note("%s %q, %d", f.kind, f.victims, pids)
	switch f.kind {
	case killWriter, killWriters, killAcquire, killAnalyser, killBroker, killTwo:
		for i, pid := range pids {
			r.kill(f.victims[i], pid)
		}
		r.revive(f.victims...)
	case brokerAway:
		r.broker.kill()
		pause(ctx, f.length)
		r.revive("broker")
	case givenUp:
		r.giveUp(ctx, f, pids)
	case killSilent:
		r.signal(syscall.SIGSTOP, pids[0])
		pause(ctx, f.length/3)
		r.kill(f.victims[1], pids[1])
		pause(ctx, 2*f.length/3)
		r.signal(syscall.SIGCONT, pids[0])
	default:
		r.signal(syscall.SIGSTOP, pids...)
		pause(ctx, f.length)
		r.signal(syscall.SIGCONT, pids...)
		r.note("%q go on", f.victims)
	}
}

// holdWriters stops the writers for a while, and returns what has them go on.
func (r *round) holdWriters(ctx context.Context, d time.Duration) func() {
	var pids []int
	for _, p := range processes(r.Camera, r.crew.supervisor()) {
		if strings.HasPrefix(p.name, "writer-") {
			pids = append(pids, p.pid)
		}
	}
	r.signal(syscall.SIGSTOP, pids...)
	r.note("the writers are stopped for %s", d)
	pause(ctx, d)
	return func() { r.signal(syscall.SIGCONT, pids...) }
}

// kill kills a process.
func (r *round) kill(name string, pid int) {
	if name == "broker" && r.broker != nil {
		r.broker.kill()
		return
	}
	if r.signal(syscall.SIGKILL, pid) {
		r.mu.Lock()
		r.kills++
		r.mu.Unlock()
	}
}

// revive starts again what no supervisor does.
func (r *round) revive(names ...string) {
	if r.broker != nil && slices.Contains(names, "broker") {
		if err := r.broker.start(); err != nil {
			r.t.Errorf("the broker does not come back: %v", err)
		}
	}
}

// signal sends a signal to processes, and reports whether all had it. One that has ended in the meantime has not.
func (r *round) signal(s syscall.Signal, pids ...int) bool {
	all := true
	for _, pid := range pids {
		all = syscall.Kill(pid, s) == nil && all
	}
	return all
}

// giveUp stops a writer, and has acquire die: the next acquire gives the writer's shards to others. Then the writer wakes.
func (r *round) giveUp(ctx context.Context, f fault, pids []int) {
	writer, acquire := pids[0], pids[1]
	r.signal(syscall.SIGSTOP, writer)
	defer func() {
		r.signal(syscall.SIGCONT, writer)
		r.note("%s wakes", f.victims[0])
	}()
	if !pause(ctx, f.delay) {
		return
	}
	r.kill("acquire", acquire)
	taken := func() bool {
		st := r.watch.status()
		if st.PID == acquire || st.PID == 0 || st.State == bus.StateArming {
			return false
		}
		for _, m := range st.Members {
			if m.PID == writer && m.HeldFrames > 0 {
				return false
			}
		}
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, r.plan.hung+3*time.Second) // a run that has no other writer waits
	defer cancel()
	if r.until(ctx, taken) {
		pause(ctx, 300*time.Millisecond)
	}
}

// sweep ends what is left of the round's processes. There must be none.
func (r *round) sweep() {
	limit := time.Now().Add(10 * time.Second)
	for {
		left := processes(r.Camera, r.crew.supervisor())
		if len(left) == 0 {
			return
		}
		if time.Now().After(limit) {
			for _, p := range left {
				r.t.Errorf("%s, process %d, is left", p.name, p.pid)
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
			return
		}
		pause(r.t.Context(), 20*time.Millisecond)
	}
}

// stores are the stores that the round made.
func (r *round) stores() []string {
	r.t.Helper()
	list, err := os.ReadDir(r.Out)
	if err != nil {
		r.t.Fatal(err)
	}
	var paths []string
	for _, e := range list {
		paths = append(paths, filepath.Join(r.Out, e.Name()))
	}
	return paths
}

// finished reports whether a store says how its run ended.
func (r *round) finished() bool {
	list, _ := filepath.Glob(filepath.Join(r.Out, "*.zarr"))
	return slices.ContainsFunc(list, func(path string) bool {
		a, err := store.ReadAttributes(vfs.OS{}, path)
		return err == nil && a.Summary != nil
	})
}
