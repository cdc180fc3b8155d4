package chaos_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// table is the account of many rounds: a line for each kind of fault.
type table struct {
	mu    sync.Mutex // guards what follows
	lines map[kind]*line
	all   line
	fails int
}

// line is a line of the table.
type line struct {
	tried, rounds      int
	captured, atRisk   uint64
	lost               map[string]uint64
	wrong, unaccounted uint64
	hangs              int
	longest            time.Duration
}

func newTable() *table {
	return &table{lines: map[kind]*line{}, all: line{lost: map[string]uint64{}}}
}

// add adds a round.
func (t *table) add(r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.failed {
		t.fails++
	}
	t.all.round(r)
	for reason, n := range r.lost {
		t.all.lost[reason] += n
	}
	seen := map[kind]bool{}
	for _, f := range r.faults {
		l := t.lines[f.kind]
		if l == nil {
			l = &line{lost: map[string]uint64{}}
			t.lines[f.kind] = l
		}
		if !seen[f.kind] {
			seen[f.kind] = true
			l.round(r)
		}
		for _, l := range []*line{l, &t.all} {
			l.tried++
			l.atRisk += f.atRisk
			if f.recovers {
				l.longest = max(l.longest, f.recovery)
			}
		}
		for reason, n := range f.lost {
			l.lost[reason] += n
		}
	}
}

// round counts a round into a line.
func (l *line) round(r result) {
	l.rounds++
	l.captured += r.captured
	l.wrong += r.wrong
	l.unaccounted += r.unaccounted
	if r.hung {
		l.hangs++
	}
}

// String is the table in Markdown.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs, %d of them failed\n\n", t.all.rounds, t.fails)
	b.WriteString("| fault | tried | runs | frames captured | at risk | lost | wrong | unaccounted | hangs | longest to the next durable frame |\n")
	b.WriteString("|---|---:|---:|---:|---:|---|---:|---:|---:|---:|\n")
	for _, k := range slices.Sorted(maps.Keys(t.lines)) {
		t.lines[k].write(&b, string(k))
	}
	t.all.write(&b, "all")
	return b.String()
}

func (l *line) write(b *strings.Builder, name string) {
	lost := "0"
	if len(l.lost) > 0 {
		var parts []string
		for _, reason := range slices.Sorted(maps.Keys(l.lost)) {
			parts = append(parts, fmt.Sprintf("%s %d", reason, l.lost[reason]))
		}
		lost = strings.Join(parts, ", ")
	}
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %s | %d | %d | %d | %.1f s |\n", name, l.tried, l.rounds, l.captured, l.atRisk, lost,
		l.wrong, l.unaccounted, l.hangs, l.longest.Seconds())
}
