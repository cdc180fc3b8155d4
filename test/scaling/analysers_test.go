package scaling_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/test/programs"
)

// TestAnalysers: one analyser becomes two and four, and then all but the last leave, the one that combines among them. Each
// gets frames while it is there, and the result at the end is of every frame, as one analyser's is.
func TestAnalysers(t *testing.T) {
	s := newStation(t, "scale-analyze", "analyze", "auto")
	spectra := programs.Listen[analysis.Temporal](t, s.url, bus.TemporalSubject(s.Camera))
	w := s.start("writer", "--name", "w", "--out", s.Out)
	s.join("a1")
	s.acquire = s.start("acquire", "--source", source, "--start", "--store", "t.ome.zarr", "--budget", "64MiB",
		"--shard-frames", strconv.Itoa(perShard), "--require", "writer,analyze", "--analyze-policy", "lossless")
	s.stay()
	s.join("a2")
	s.stay()
	s.join("a3", "a4")
	s.stay()
	s.leave("a1", "a3", "a4")
	s.stay()
	sum := s.record()
	final := spectra.Wait(t, limit, "the final spectrum", func(m analysis.Temporal) bool { return m.Final })
	if c := final.Coverage; c.Captured != sum.Captured || c.Seen != sum.Captured || c.Broken != 0 || c.Late != 0 {
		t.Errorf("the result is of %+v, the run has %d frames", c, sum.Captured)
	}
	if sum.Analyzed != sum.Captured || sum.Skipped != 0 {
		t.Errorf("analyzed %d, skipped %d of %d frames", sum.Analyzed, sum.Skipped, sum.Captured)
	}
	s.leaveAll()
	w.Signal(t, terminate)
	if r := w.Wait(t); r.Code != 0 {
		t.Errorf("the writer ended with %d\n%s", r.Code, r.Stderr)
	}
	for i, p := range s.phases {
		counts := map[string]int{}
		for seq := p.begin; seq < p.end; seq++ {
			for _, name := range s.work.by(seq) {
				if name != "w" {
					counts[name]++
				}
			}
		}
		t.Logf("phase %d, frames %d to %d: %v", i+1, p.begin, p.end, counts)
		for name := range counts {
			if !slices.Contains(p.members, name) {
				t.Errorf("phase %d: %s, which was not there, has had frames", i+1, name)
			}
		}
	}
	s.NothingLeft()
}
