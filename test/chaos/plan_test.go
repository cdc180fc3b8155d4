package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/sluicedaq/sluice/internal/slab"
)

// way is how a round's processes are run.
type way string

const (
	ownBroker  way = "sluice run"               // with a broker of its own
	elsewhere  way = "sluice run --nats"        // with one that the round starts again
	operated   way = "by hand, sluice ctl"      // each process on its own, started again when it dies
	startsOnce way = "by hand, acquire --start" // the same, acquire begins by itself
)

// plan is a round, all of it made from its seed.
type plan struct {
	seed      uint64
	way       way
	source    string
	frames    uint64
	free      bool
	onFull    string
	writers   int
	analysers int
	// capture, link: options of acquire; of every process.
	capture, link []string
	// stopAt is the share of the frames at which a user stops the run, 0 for never.
	stopAt float64
	slots  int // of the budget
	// deadline is when a drain is given up, 0 for a time that no round takes.
	deadline time.Duration
	// hung is when silence counts.
	hung   time.Duration
	faults []fault
	// streams are what goes through JetStream, nil for nothing.
	streams *streams
}

// newPlan makes the round of a seed.
func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	p := plan{seed: seed, way: ownBroker, writers: 1 + r.IntN(3), analysers: r.IntN(3), free: r.IntN(4) == 0}
	switch n := r.IntN(20); {
	case n < 6:
		p.way = elsewhere
	case n < 9:
		p.way = operated
	case n < 11:
		p.way = startsOnce
	}
	beside := rand.New(rand.NewPCG(seed, 1)) // so that r's numbers are for what they were
	if seed&streamed != 0 {                  // by hand: the members of `sluice run` are on its host
		p.way = []way{operated, startsOnce}[beside.IntN(2)]
	}
	width, height, dtype, fps := 1+r.IntN(400), 1+r.IntN(300), one("uint8", "uint16"), 80+r.IntN(400)
	p.frames = uint64(fps) * uint64(2+r.IntN(3))
	if !p.free && r.IntN(4) == 0 { // as fast as it can: the budget is full all the time
		p.frames = min(8_000, 80<<20/uint64(width*height))
		fps = 0
	}
	pattern, hash := "counter", fmt.Sprintf("hash&seed=%d", r.IntN(1000))
	if rand.New(rand.NewPCG(seed, 2)).IntN(2) == 0 { // as for beside
		pattern = hash
	}
	p.source = fmt.Sprintf("sim:?width=%d&height=%d&dtype=%s&fps=%d&pattern=%s", width, height, dtype, fps, pattern)
	if p.free {
		p.source += fmt.Sprintf("&free=true&ring=%d", 1+r.IntN(500))
	}
	p.onFull = one("pause", "pause", "drop")
	if fps == 0 {
		p.onFull = "pause" // the other policy would lose nearly all of such a run
	}
	bytes := width * height
	if dtype == "uint16" {
		bytes *= 2
	}
	p.slots = 8 + r.IntN(300)
	analyze := one("latest", "latest", "lossless")
	if p.analysers == 0 {
		analyze = "latest" // frames for a lossless analysis that nobody does would wait for ever
	}
	p.capture = []string{
		"--source", p.source, "--frames", strconv.FormatUint(p.frames, 10), "--on-full", p.onFull,
		"--budget", strconv.Itoa(p.slots * slab.Stride(bytes)), "--shard-frames", strconv.Itoa(1 + r.IntN(150)),
		"--compress", one("none", "none", "zstd:1", "zstd:3"), "--analyze-policy", analyze,
		"--reclaim-after", one("300ms", "2s"), "--member-timeout", "30s",
	}
	p.hung = time.Second
	p.link = []string{"--heartbeat", "250ms", "--hung-after", "1s"}
	switch r.IntN(8) {
	case 0:
		p.deadline = 6 * time.Second // longer than what is not meant to outlast it
		p.capture = append(p.capture, "--drain-timeout", p.deadline.String())
	case 1, 2:
		p.hung, p.link = 5*time.Second, nil
	}
	if p.way != startsOnce && r.IntN(5) == 0 {
		p.stopAt = 0.2 + 0.8*r.Float64()
	}
	for range 2 + r.IntN(4) {
		p.faults = append(p.faults, p.fault(r))
	}
	if seed&streamed != 0 {
		p.streams = newStreams(beside, p)
		p.capture = append(p.capture, p.streams.acquire...)
	}
	return p
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d writers, %d analysers %s %q, hung after %s", p.way, p.writers, p.analysers, p.link, p.capture, p.hung)
	if p.stopAt > 0 {
		fmt.Fprintf(&b, ", stopped at %.2f of the frames", p.stopAt)
	}
	if p.streams != nil {
		fmt.Fprintf(&b, "; %s", p.streams)
	}
	for _, f := range p.faults {
		fmt.Fprintf(&b, "\n  %s", f)
	}
	return b.String()
}
