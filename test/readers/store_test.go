//go:build readers

package readers_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestLossAndColour reads stores that the simulated camera makes only by chance: colour, frames lost in the middle of
// a shard, and a shard that was lost as a whole.
func TestLossAndColour(t *testing.T) {
	const captured, k = 14, 4 // the last shard has two frames
	for _, g := range []frames.Geometry{
		{Height: 17, Width: 31, Channels: 3, Dtype: frames.Uint8},
		{Height: 64, Width: 63, Channels: 1, Dtype: frames.Uint16},
		{Height: 1, Width: 1, Channels: 3, Dtype: frames.Uint16},
	} {
		for _, codec := range []string{"none", "zstd", "blosc-zstd"} {
			t.Run(fmt.Sprint(g, " ", codec), func(t *testing.T) {
				spec := run.Spec{
					Run: frames.NewRunID(), Camera: "cam0", Geometry: g, FPS: 50, ShardFrames: k, Store: "a.ome.zarr",
					Codec: codec, PixelSizeUM: 0.65, Started: time.Now(),
				}
				if codec != "none" {
					spec.Level = 1
				}
				path := filepath.Join(t.TempDir(), spec.Store)
				states := map[int]frames.State{1: frames.Dropped, 4: frames.Paused, 5: frames.Paused, 6: frames.Paused, 7: frames.Paused, 13: frames.Missed}
				write(t, path, spec, captured, states)
				axes, shape := []string{"t", "y", "x"}, append([]int{captured}, g.Shape()...)
				if g.Channels > 1 {
					axes = []string{"t", "c", "y", "x"}
				}
				compareStates(t, run.Summary{Store: path}, found{OME: "0.5", Axes: axes, Shape: shape, Dtype: g.Dtype.String(), Captured: captured},
					g.FrameBytes(), states, func(frame []byte, seq int) {
						clear(frame) // the fill value
						if states[seq] == frames.Absent {
							hash(frame, 3, uint64(seq))
						}
					})
			})
		}
	}
}

// write makes a store in which the frames in states are lost.
func write(t *testing.T, path string, spec run.Spec, captured int, states map[int]frames.State) {
	t.Helper()
	s, err := store.Create(t.Context(), vfs.OS{}, path, spec, store.Options{Writer: "writer-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for no := range spec.Shards(uint64(captured)) {
		sh, err := s.TakeShard(t.Context(), no, no+1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sh.Close() })
		end := min((no+1)*spec.ShardFrames, uint64(captured))
		for seq := no * spec.ShardFrames; seq < end; seq++ {
			var fs []store.Frame
			var ls []frames.Loss
			if st := states[int(seq)]; st != frames.Absent {
				ls = append(ls, frames.Loss{Seq: seq, Count: 1, FirstFrameID: seq, LastFrameID: seq, Reason: st, Stage: frames.AtAcquire})
			} else {
				f := store.Frame{Seq: seq, FrameID: seq, DeviceNS: int64(seq), HostNS: int64(seq), Pixels: make([]byte, spec.Geometry.FrameBytes())}
				hash(f.Pixels, 3, seq)
				fs = append(fs, f)
			}
			if err := sh.Commit(t.Context(), fs, ls); err != nil {
				t.Fatal(err)
			}
		}
		if err := sh.Seal(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Finish(t.Context(), uint64(captured), run.Summary{}); err != nil {
		t.Fatal(err)
	}
}

// compareStates reads a store with zarrita and holds it against want, the states (durable where states has none) and
// the pattern.
func compareStates(t *testing.T, s run.Summary, want found, size int, states map[int]frames.State, pattern func([]byte, int)) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "node", "read.mjs", s.Store).Output()
	if err != nil {
		t.Fatalf("zarrita: %v", err)
	}
	line, pixels, _ := bytes.Cut(out, []byte{'\n'})
	var got found
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	n := want.Shape[0]
	if got.OME != want.OME || !slices.Equal(got.Axes, want.Axes) || !slices.Equal(got.Shape, want.Shape) || got.Dtype != want.Dtype || got.Captured != want.Captured {
		t.Errorf("found %s %v %v %s captured %d, want %+v", got.OME, got.Axes, got.Shape, got.Dtype, got.Captured, want)
	}
	if len(pixels) != n*size {
		t.Fatalf("%d bytes of pixels, want %d", len(pixels), n*size)
	}
	frame := make([]byte, size)
	for seq := range n {
		st, id := cmp.Or(states[seq], frames.Durable), strconv.Itoa(seq)
		if st != frames.Durable {
			id = "0"
		}
		for column, value := range map[string]string{"state": strconv.Itoa(int(st)), "frame_id": id, "time_device_ns": id, "time_host_ns": id} {
			if got := got.Columns[column]; len(got) != n || got[seq] != value {
				t.Errorf("frame %d has %s %v, want %s", seq, column, got, value)
			}
		}
		pattern(frame, seq)
		if !bytes.Equal(pixels[seq*size:(seq+1)*size], frame) {
			t.Errorf("frame %d is not what was written", seq)
		}
	}
}
