//go:build readers

// Package readers_test reads stores back with zarrita, an implementation of Zarr that shares nothing with ours, and
// compares every byte of every frame with the pattern that the simulated camera is specified to make.
package readers_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/test/programs"
)

var bin *programs.Programs

func TestMain(m *testing.M) {
	var err error
	if bin, err = programs.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// found is what read.mjs says of a store.
type found struct {
	OME      string
	Axes     []string
	Shape    []int
	Dtype    string
	Chunks   []int
	Captured uint64
	Columns  map[string][]string
}

// TestBlosc reads frames that blosc-zstd makes smaller: nothing does that to the pattern hash.
func TestBlosc(t *testing.T) {
	for _, c := range []struct {
		width, height int
		dtype         string
		bits          int
	}{
		{1024, 1024, "uint16", 16}, // whole blocks
		{641, 479, "uint16", 16},
		{9, 9, "uint16", 16}, // the smallest that is no longer stored as it is
		{1024, 640, "uint8", 8},
	} {
		t.Run(fmt.Sprintf("%dx%d/%s", c.width, c.height, c.dtype), func(t *testing.T) {
			const n = 20
			size := c.width * c.height * c.bits / 8
			s := bin.Record(t, 0, "--camera", "rd-blosc", "--compress", "blosc-zstd", "--budget", "128MiB", "--out", t.TempDir(), "--frames", strconv.Itoa(n),
				"--source", fmt.Sprintf("sim:?width=%d&height=%d&dtype=%s&fps=0&pattern=counter", c.width, c.height, c.dtype))
			bin.Verify(t, s)
			if size > 4096 && s.StoredBytes >= s.Bytes { // smaller frames are less than what comes with them
				t.Errorf("%d bytes are %d in the store", s.Bytes, s.StoredBytes)
			}
			compare(t, s, found{OME: "0.5", Axes: []string{"t", "y", "x"}, Shape: []int{n, c.height, c.width}, Dtype: c.dtype, Captured: n}, size,
				func(frame []byte, seq int) {
					for i := range c.width * c.height {
						v := seq*131 + i
						if c.bits == 8 {
							frame[i] = byte(v)
						} else {
							binary.LittleEndian.PutUint16(frame[2*i:], uint16(v))
						}
					}
				})
		})
	}
}

// hash is frame seq of the pattern hash as docs and design give it, written anew from the formula.
func hash(frame []byte, seed, seq uint64) {
	splitmix := func(z uint64) uint64 {
		z += 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return z ^ z>>31
	}
	var word [8]byte
	for at := 0; at < len(frame); at += 8 {
		binary.LittleEndian.PutUint64(word[:], splitmix(seed^seq*0x9E3779B97F4A7C15^uint64(at/8)*0xD1B54A32D192ED03))
		copy(frame[at:], word[:])
	}
}

func TestEveryByte(t *testing.T) {
	for _, c := range []struct {
		width, height int
		dtype         string
		codec         string
		frames        int
		shard         int // frames in one, 0 for the default
		writers       int
	}{
		{512, 512, "uint16", "none", 1000, 0, 2},
		{512, 512, "uint16", "zstd", 150, 64, 2},
		{512, 512, "uint8", "none", 150, 64, 1},
		{640, 480, "uint8", "zstd:3", 100, 32, 2},
		{1, 1, "uint8", "none", 37, 16, 2},
		{1, 1, "uint16", "zstd", 37, 16, 1},
		{3, 5, "uint8", "none", 5, 16, 1},
		{17, 31, "uint16", "none", 33, 16, 2},
		{31, 17, "uint8", "zstd", 33, 16, 2},
		{641, 479, "uint16", "none", 41, 10, 3},
		{641, 479, "uint8", "zstd", 41, 40, 1},
		{4096, 1, "uint8", "none", 9, 4, 1}, // exactly a block of the disk
		{2048, 2048, "uint16", "none", 20, 8, 2},
		{1, 1, "uint16", "blosc-zstd", 5, 0, 1},
		{31, 17, "uint8", "blosc-zstd", 33, 16, 2},
		{641, 479, "uint16", "blosc-zstd:3", 41, 10, 2},
	} {
		size := c.width * c.height
		if c.dtype == "uint16" {
			size *= 2
		}
		t.Run(fmt.Sprintf("%dx%d/%s/%s/%d", c.width, c.height, c.dtype, c.codec, c.frames), func(t *testing.T) {
			args := []string{
				"--camera", "rd-bytes", "--source", fmt.Sprintf("sim:?width=%d&height=%d&dtype=%s&fps=0&pattern=hash&seed=%d", c.width, c.height, c.dtype, c.frames),
				"--frames", strconv.Itoa(c.frames), "--writers", strconv.Itoa(c.writers), "--analyzers", "1",
				"--compress", c.codec, "--budget", "128MiB", "--out", t.TempDir(),
			}
			if c.shard > 0 {
				args = append(args, "--shard-frames", strconv.Itoa(c.shard))
			}
			s := bin.Record(t, 0, args...)
			if n := uint64(c.frames); s.Captured != n || s.Written != n || s.Lost != 0 || s.Bytes != n*uint64(size) {
				t.Errorf("captured %d, written %d, lost %d, %d bytes; want %d frames of %d bytes", s.Captured, s.Written, s.Lost, s.Bytes, n, size)
			}
			bin.Verify(t, s)
			compare(t, s, found{
				OME: "0.5", Axes: []string{"t", "y", "x"}, Shape: []int{c.frames, c.height, c.width}, Dtype: c.dtype,
				Captured: uint64(c.frames),
			}, size, func(frame []byte, seq int) { hash(frame, uint64(c.frames), uint64(seq)) })
		})
	}
}

// compare reads a store with zarrita and holds what it finds against want and the pattern.
func compare(t *testing.T, s run.Summary, want found, size int, pattern func([]byte, int)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "read.mjs", s.Store)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("zarrita: %v\n%s", err, stderr.String())
		}
	}()
	out := bufio.NewReaderSize(pipe, 1<<20)
	line, err := out.ReadBytes('\n')
	if err != nil {
		t.Errorf("zarrita said nothing: %v", err)
		return
	}
	var got found
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	n := want.Shape[0]
	if got.OME != want.OME || !slices.Equal(got.Axes, want.Axes) || !slices.Equal(got.Shape, want.Shape) || got.Dtype != want.Dtype || got.Captured != want.Captured {
		t.Errorf("found %s %v %v %s captured %d, want %+v", got.OME, got.Axes, got.Shape, got.Dtype, got.Captured, want)
	}
	for _, name := range []string{"time_device_ns", "time_host_ns", "frame_id", "state", "crc32c"} {
		if len(got.Columns[name]) != n {
			t.Errorf("column %s has %d entries, want %d", name, len(got.Columns[name]), n)
			return
		}
	}
	frame, pixels := make([]byte, size), make([]byte, size)
	for seq := range n {
		if got.Columns["state"][seq] != "1" {
			t.Errorf("frame %d has the state %s, want 1", seq, got.Columns["state"][seq])
		}
		if seq > 0 && number(t, got.Columns["frame_id"][seq]) != number(t, got.Columns["frame_id"][seq-1])+1 {
			t.Errorf("frame %d has the id %s after %s", seq, got.Columns["frame_id"][seq], got.Columns["frame_id"][seq-1])
		}
		if _, err := io.ReadFull(out, frame); err != nil {
			t.Errorf("frame %d: %v", seq, err)
			return
		}
		pattern(pixels, seq)
		if !bytes.Equal(frame, pixels) {
			t.Errorf("frame %d is not what the camera made", seq)
			return
		}
	}
	if rest, err := io.Copy(io.Discard, out); rest != 0 || err != nil {
		t.Errorf("%d bytes after the last frame (%v)", rest, err)
	}
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Error(err)
	}
	return n
}
