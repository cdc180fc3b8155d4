package monitor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// status is a run in work.
func status() bus.Status {
	full := 43.2
	s := bus.Status{
		State: bus.StateRunning, Since: time.Unix(1000, 0), Frames: 200, Captured: 100, Durable: 90, InFlight: 7, Lost: 3,
		LostByReason: map[string]uint64{"missed": 1, "dropped": 2}, ReadableUntilSeq: 64,
		Geometry: &frames.Geometry{Height: 4, Width: 8, Channels: 1, Dtype: frames.Uint16},
		Rate:     bus.Rate{Nominal: 50, Measured: 49.9, Durable: 48, BytesPerSecond: 3 << 20},
		Budget: bus.Budget{
			State: bus.BudgetThrottled, Bytes: 3 << 20, Limit: 4 << 20, Peak: 3 << 20, Holder: "writer", HolderMember: "writer-1", ThrottledSeconds: 1.5, SecondsToFull: &full,
		},
		Members: []bus.Member{
			{
				Name: "writer-1", Group: "writer", State: "live", HeldBytes: 2 << 20, OldestUnreleasedNS: 1_234_000_000, Redelivered: 4, Restarts: 1,
				Work: bus.Work{Frames: 90, Busy: 0.5, Starved: 0.25, Blocked: 0.25}, Writer: &bus.WriterStatus{FreeBytes: 1 << 30, Direct: true, DurableP99NS: 1_500_000},
			},
			{Name: "analyze-1", Group: "analyze", State: "hung", Skipped: 5},
		},
	}
	s.Camera, s.Run = "cam0", frames.RunID{0xab, 0xcd, 0xef, 0x01}
	return s
}

func TestPanel(t *testing.T) {
	const want = `cam0  RUNNING for 12s  run abcdef01  8x4 uint16
  frames  ███████████████░░░░░░░░░░░░░░░  50 % 100 of 200
  captured 100  durable 90  in flight 7  lost 3 (dropped 2, missed 1)  readable until 64
  rate    49.9 frames/s of 50.0  3.0 MiB/s  durable 48.0 frames/s
  budget  ███████████████████████░░░░░░░  75 % 3.0 MiB of 4.0 MiB  throttled (held by writer-1 of writer)  full in 43 s  peak 3.0 MiB  throttled 1.5 s  paused 0.0 s
  MEMBER     STATE  FRAMES  BUSY  STARVED  BLOCKED  HELD     LAG    SKIPPED  AGAIN  RESTARTS  DISK
  analyze-1  hung   0       0 %   0 %      0 %      0 B      0      5        0      0         
  writer-1   live   90      50 %  25 %     25 %     2.0 MiB  1.23s  0        4      1         1.0 GiB free, direct, durable p99 1.5ms
`
	if got := Panel(status(), time.Unix(1012, 0)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	idle := bus.Status{State: bus.StateIdle, Reason: "run 01 ended by frames", LastRun: &run.Summary{EndedBy: "frames", Captured: 3, Written: 3, Store: "/s"}}
	const wantIdle = "  IDLE\n  run 01 ended by frames\n  last run 00000000 ended by frames: captured 3, written 3, lost 0\n  /s\n"
	if got := Panel(idle, time.Unix(0, 0)); got != wantIdle {
		t.Errorf("got\n%q\nwant\n%q", got, wantIdle)
	}
}

func TestLine(t *testing.T) {
	const want = "cam0 running: captured 100 of 200, durable 90, lost 3 (dropped 2, missed 1), 49.9 frames/s, 3.0 MiB/s, budget 75 % of 4.0 MiB throttled"
	if got := Line(status()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestGauge(t *testing.T) {
	for share, want := range map[float64]string{
		-1: strings.Repeat("░", 30) + "   0 %", 2: strings.Repeat("█", 30) + " 100 %", 0.1: "███" + strings.Repeat("░", 27) + "  10 %",
	} {
		if got := Gauge(share); got != want {
			t.Errorf("%g: %q", share, got)
		}
	}
}

func TestPlainShowsChangesAndIntervals(t *testing.T) {
	var out bytes.Buffer
	screen := Open(&out, time.Hour)
	s := status()
	screen.Show(s)
	screen.Show(s)
	screen.Say("hello")
	s.State = bus.StateDraining
	screen.Show(s)
	screen.Close()
	if got := strings.Split(strings.TrimSpace(out.String()), "\n"); len(got) != 3 || got[1] != "hello" || !strings.HasPrefix(got[2], "cam0 draining") {
		t.Errorf("%q", got)
	}
}

// screenText plays what was written on a terminal: text, line feeds, "up n lines" and "erase below".
func screenText(t *testing.T, written string) []string {
	t.Helper()
	lines, row := []string{""}, 0
	for written != "" {
		var up int
		switch {
		case strings.HasPrefix(written, "\r\x1b["):
			if _, err := fmt.Sscanf(written, "\r\x1b[%dA", &up); err != nil || up > row {
				t.Fatalf("%d lines up from %d, %v", up, row, err)
			}
			row -= up
			lines = append(lines[:row], "")
			_, written, _ = strings.Cut(written, "\x1b[J")
		case written[0] == '\n':
			lines, row, written = append(lines, ""), row+1, written[1:]
		default:
			n := strings.IndexAny(written, "\r\n\x1b")
			if n < 0 {
				n = len(written)
			}
			lines[row] += written[:n]
			written = written[n:]
		}
	}
	return lines
}

func TestTerminal(t *testing.T) {
	var out bytes.Buffer
	screen := &terminal{w: NewOutput(&out, time.Second), size: func() (int, int) { return 20, 5 }}
	screen.Say("first")
	screen.Show(status())
	screen.Say("second")
	screen.Show(status())
	got := screenText(t, out.String())
	if len(got) != 7 || got[0] != "first" || got[1] != "second" || !strings.HasPrefix(got[2], "cam0  RUNNING for ") || got[6] != "" {
		t.Errorf("%q", got)
	}
	for _, l := range got {
		if utf8.RuneCountInString(l) > 20 {
			t.Errorf("%q is wider than the terminal", l)
		}
	}
	screen.Close()
	screen.Say("last")
	if got := screenText(t, out.String()); !slices.Equal(got, []string{"first", "second", "last", ""}) {
		t.Errorf("in the end %q", got)
	}
}

// TestNothingForTheTerminal: whatever words a status or a line has, the terminal gets nothing to obey, and no more lines
// than there are.
func TestNothingForTheTerminal(t *testing.T) {
	evil := "\x1b[2J\n\r\x07\u009b31m\u202egnp.exe\x00" + strings.Repeat("x", 1<<20)
	s := status()
	lines := strings.Count(Panel(s, time.Unix(1012, 0)), "\n")
	s.Camera, s.State, s.Reason, s.Budget.Holder, s.Budget.State = evil, bus.State(evil), evil, evil, bus.BudgetState(evil)
	s.LostByReason = map[string]uint64{evil: 1}
	s.Members[0].Name, s.Members[0].State, s.Members[1].Writer = evil, evil, &bus.WriterStatus{Fallback: evil}
	idle := bus.Status{State: bus.State(evil), Reason: evil, LastRun: &run.Summary{EndedBy: evil, Store: evil}}
	var out bytes.Buffer
	screen := Open(&out, 0)
	screen.Say(evil)
	screen.Show(s)
	screen.Show(idle)
	screen.Close()
	panel := Panel(s, time.Unix(1012, 0))
	if n := strings.Count(panel, "\n"); n != lines+1 { // and the reason's
		t.Errorf("%d lines, want %d", n, lines+1)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines were said, want 3", n)
	}
	for _, text := range []string{panel, Panel(idle, time.Unix(0, 0)), out.String()} {
		if len(text) > 20_000 {
			t.Errorf("%d bytes", len(text))
		}
		for _, r := range text {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Fatalf("%q gets through", r)
			}
		}
	}
	if len(s.LostByReason) != 1 || s.LostByReason[evil] != 1 {
		t.Error("the caller's status was changed")
	}
}
