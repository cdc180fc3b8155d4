package programs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// CheckFrames reads every frame that a simulated camera's run has in its store. A durable frame must have exactly the
// pixels of its seq, a lost one must be empty and in a ledger under the reason that its state names. The counts must be
// the summary's. It returns how many frames are in which state.
func CheckFrames(t *testing.T, s run.Summary) map[frames.State]uint64 {
	t.Helper()
	r, err := store.OpenReader(vfs.OS{}, s.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Len() != s.Captured {
		t.Errorf("the store has %d frames, %d were captured", r.Len(), s.Captured)
	}
	counts := CheckPrefix(t, r, s.Source, Ledger(t, s.Store))
	lost := uint64(0)
	for state, n := range counts {
		if state != frames.Durable {
			lost += n
			if s.LostByReason[state.String()] != n {
				t.Errorf("%d frames are %s, the summary has %d", n, state, s.LostByReason[state.String()])
			}
		}
	}
	if counts[frames.Durable] != s.Written || lost != s.Lost {
		t.Errorf("%d frames durable and %d lost, the summary has %d and %d", counts[frames.Durable], lost, s.Written, s.Lost)
	}
	return counts
}

// CheckPrefix is CheckFrames for what a reader sees, with the reasons that the ledgers give for each lost frame.
func CheckPrefix(t *testing.T, r *store.Reader, source string, ledger map[uint64][]frames.State) map[frames.State]uint64 {
	t.Helper()
	c := Inspect(t, r, source, ledger)
	if len(c.Wrong) > 0 {
		t.Errorf("%d frames are not what the camera made, or are lost and have pixels: %v", len(c.Wrong), head(c.Wrong))
	}
	for _, seq := range head(c.Unaccounted) {
		t.Errorf("frame %d is lost, and the ledgers say %v; %d frames are so", seq, ledger[seq], len(c.Unaccounted))
	}
	return c.States
}

// head is the begin of a list that may be long.
func head(seqs []uint64) []uint64 { return seqs[:min(len(seqs), 10)] }

// Contents is what a store has of a simulated camera's frames.
type Contents struct {
	States map[frames.State]uint64
	// Wrong are durable frames that are not what the camera made, and lost ones that have pixels.
	Wrong []uint64
	// Unaccounted are lost frames that no ledger names under their reason.
	Unaccounted []uint64
}

// Inspect compares every frame that a reader sees with what the camera made, and with the ledgers.
func Inspect(t *testing.T, r *store.Reader, source string, ledger map[uint64][]frames.State) Contents {
	t.Helper()
	pattern, size, err := sim.Expected(source)
	if err != nil {
		t.Fatal(err)
	}
	want, empty := make([]byte, size), make([]byte, size)
	var got []byte
	c := Contents{States: map[frames.State]uint64{}}
	for seq := range r.Len() {
		row, err := r.Row(seq)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = r.Frame(got[:0], seq); err != nil {
			t.Fatal(err)
		}
		c.States[row.State]++
		expected := empty
		if row.State == frames.Durable {
			pattern.Fill(want, seq)
			expected = want
		} else if !slices.Contains(ledger[seq], row.State) {
			c.Unaccounted = append(c.Unaccounted, seq)
		}
		if !bytes.Equal(got, expected) {
			c.Wrong = append(c.Wrong, seq)
		}
	}
	return c
}

// Ledger reads all of a store's ledgers with nothing of the store's own code: the reasons for each lost frame. A line that
// does not parse was torn, by a full disk perhaps, and is followed by a whole one.
func Ledger(t *testing.T, path string) map[uint64][]frames.State {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "ledger", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[uint64][]frames.State{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for text := range bytes.Lines(text) {
			var line struct {
				Seq, Count uint64
				More       []uint64
				Reason     frames.State
			}
			if json.Unmarshal(text, &line) != nil {
				continue
			}
			seq := line.Seq
			for i, n := range append([]uint64{0, line.Count}, line.More...) {
				for end := seq + n; seq < end; seq++ {
					if i%2 == 1 {
						reasons[seq] = append(reasons[seq], line.Reason)
					}
				}
			}
		}
	}
	return reasons
}

// Lines decodes a file of JSON lines.
func Lines[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v\n%s", path, err, lines.Bytes())
		}
		list = append(list, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
