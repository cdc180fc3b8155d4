//go:build readers

package readers_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"hash/crc32"
	"os/exec"
	"testing"

	"github.com/sluicedaq/sluice/test/programs"
)

// TestConsumerInPython runs the example of docs/link.md as the only analyser, with the policy lossless: it sees every
// frame once, with the pixels that the camera made, and comes to its own end.
func TestConsumerInPython(t *testing.T) {
	const n, size = 300, 64 * 48 * 2
	url := programs.Broker(t)
	cmd := exec.CommandContext(t.Context(), "python3", "../../examples/consumer.py", url, "rd-python", "py-1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := bin.Record(t, 0, "--nats", url, "--camera", "rd-python", "--source", "sim:?width=64&height=48&dtype=uint16&fps=0&pattern=hash&seed=0",
		"--frames", "300", "--budget", "4MiB", "--analyzers", "0", "--analyze-policy", "lossless", "--require", "writer,analyze",
		"--out", t.TempDir())
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the consumer: %v\n%s", err, stderr.String())
	}
	if s.Analyzed != n {
		t.Errorf("the summary has %d frames analysed, want %d", s.Analyzed, n)
	}
	seen := map[uint64]bool{}
	var captured uint64
	pixels := make([]byte, size)
	for lines := bufio.NewScanner(&stdout); lines.Scan(); {
		var line struct {
			Seq      *uint64
			CRC32    uint32
			Captured uint64
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if line.Seq == nil {
			captured = line.Captured
			continue
		}
		if seen[*line.Seq] {
			t.Errorf("frame %d came twice", *line.Seq)
		}
		seen[*line.Seq] = true
		if hash(pixels, 0, *line.Seq); crc32.ChecksumIEEE(pixels) != line.CRC32 {
			t.Errorf("frame %d is not what the camera made", *line.Seq)
		}
	}
	if len(seen) != n || captured != n {
		t.Errorf("it saw %d frames, and an end at %d; want %d", len(seen), captured, n)
	}
}
