//go:build readers

package readers_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera/sim"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// scenes are n bytes each of what makes an encoder take its different ways.
func scenes(t *testing.T, g frames.Geometry) map[string][]byte {
	t.Helper()
	n := g.FrameBytes()
	r := rand.New(rand.NewPCG(uint64(n), 1))
	of := func(pixel func(i int) uint16) []byte {
		b := make([]byte, n)
		for i := range n / g.Dtype.Size() {
			if g.Dtype == frames.Uint8 {
				b[i] = byte(pixel(i))
			} else {
				binary.LittleEndian.PutUint16(b[2*i:], pixel(i))
			}
		}
		return b
	}
	c := sim.Default()
	c.Width, c.Height, c.Dtype = g.Width, g.Height, g.Dtype
	p, err := sim.NewPattern(c)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, n)
	p.Fill(noise, 3)
	return map[string][]byte{
		"noise":          noise,
		"wide noise":     of(func(int) uint16 { return uint16(2000.5 + 300*r.NormFloat64()) }),
		"narrow noise":   of(func(int) uint16 { return uint16(100.5 + 0.3*r.NormFloat64()) }),
		"incompressible": of(func(int) uint16 { return uint16(r.Uint32()) }),
		"constant":       of(func(int) uint16 { return 4095 }),
		"zeros":          make([]byte, n),
		"ramp":           of(func(i int) uint16 { return uint16(i) }),
		"rows alike":     of(func(i int) uint16 { return uint16(i % g.Width * i % g.Width) }),
		"few stars": of(func(i int) uint16 {
			if i%997 == 0 {
				return uint16(r.Uint32())
			}
			return 7
		}),
	}
}

// TestCLibraries decodes with c-blosc and zstd what the encoders make of frames of all kinds and of odd sizes.
func TestCLibraries(t *testing.T) {
	for _, codec := range []string{"zstd", "blosc-zstd"} {
		for _, level := range []int{1, 2, 3, 9} {
			t.Run(fmt.Sprint(codec, ":", level), func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), "python3", "decode.py")
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				in, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				for _, size := range []struct{ width, height int }{{1, 1}, {7, 9}, {8, 8}, {13, 10}, {31, 17}, {256, 256}, {512, 256}, {641, 479}, {1024, 1024}} {
					for _, dtype := range []frames.Dtype{frames.Uint8, frames.Uint16} {
						g := frames.Geometry{Height: size.height, Width: size.width, Channels: 1, Dtype: dtype}
						e, err := store.NewEncoder(run.Spec{Codec: codec, Level: level, Geometry: g}, 1)
						if err != nil {
							t.Fatal(err)
						}
						for name, frame := range scenes(t, g) {
							chunk := e.EncodeAll(frame, nil)
							head := append([]byte{}, codec[0])
							head = binary.LittleEndian.AppendUint32(head, uint32(len(chunk)))
							head = binary.LittleEndian.AppendUint32(head, uint32(len(frame)))
							got := make([]byte, len(frame))
							_, err := in.Write(append(head, chunk...))
							if err == nil {
								_, err = io.ReadFull(out, got)
							}
							if err != nil {
								t.Fatalf("%s, %s: %v, %v: %s", g, name, err, cmd.Wait(), stderr.String())
							}
							if !bytes.Equal(got, frame) {
								t.Errorf("%s, %s: not the same bytes", g, name)
							}
						}
						if err := e.Close(); err != nil {
							t.Error(err)
						}
					}
				}
				if err := in.Close(); err != nil {
					t.Error(err)
				}
				if err := cmd.Wait(); err != nil {
					t.Errorf("%v: %s", err, stderr.String())
				}
			})
		}
	}
}
