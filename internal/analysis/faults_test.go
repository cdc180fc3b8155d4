package analysis_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// fact waits for something among the members.
func (s *station) fact(kind dispatch.FactKind) dispatch.Fact {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case f := <-s.facts:
			if f.Kind == kind {
				return f
			}
		case <-timeout:
			s.t.Fatalf("no fact %q", kind)
		}
	}
}

// TestCombinerDies kills the combiner in mid-run: another takes over, and says what is missing.
func TestCombinerDies(t *testing.T) {
	s := newStation(t, link.Lossless, 2, spec500())
	combiner := s.join("analyze-0", nil)
	s.fact(dispatch.MemberJoined)
	s.join("analyze-1", nil)
	s.arm(64, 0)
	for seq := range uint64(1100) {
		if seq == 500 {
			combiner.kill()
			s.fact(dispatch.MemberLost)
		}
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	s.drain()
	r, _ := s.final()
	if r.Process != "analyze-1" || r.Coverage.Captured != 1100 {
		t.Errorf("process %s, coverage %+v", r.Process, r.Coverage)
	}
	// What the dead one had combined is gone; at most what was captured before its death.
	if r.Coverage.Seen < 600 || r.Coverage.Seen > 1099 || r.Window.FirstSeq == 0 {
		t.Errorf("coverage %+v, window %+v", r.Coverage, r.Window)
	}
	near(t, "dominant", float64(*r.Frame.DominantHz), 37, float64(r.BinHz)/2)
}

// TestMemberDies kills a member that does not combine: what it had in hand goes to the other, nothing is missing.
func TestMemberDies(t *testing.T) {
	s := newStation(t, link.Lossless, 2, spec500())
	s.join("analyze-0", nil)
	s.fact(dispatch.MemberJoined)
	other := s.join("analyze-1", nil)
	s.arm(64, 0)
	for seq := range uint64(1100) {
		if seq == 500 {
			other.kill()
			s.fact(dispatch.MemberLost)
		}
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	s.drain()
	r, _ := s.final()
	if r.Process != "analyze-0" || r.Coverage.Seen != 1100 || r.Coverage.Segments != 3 || r.Coverage.Broken != 0 {
		t.Errorf("process %s, coverage %+v", r.Process, r.Coverage)
	}
}

// TestBrokerRestarts stops the broker while frames are in work: they are released when it is back.
func TestBrokerRestarts(t *testing.T) {
	s := newStation(t, link.Lossless, 2, spec500())
	for _, name := range names(2) {
		s.join(name, nil)
	}
	s.arm(64, 0)
	for seq := range uint64(600) {
		if seq == 300 {
			s.settle()
			s.srv.Down()
		}
		if seq == 340 {
			s.srv.Up()
		}
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	s.drain()
	r, _ := s.final()
	if r.Coverage.Seen != 600 || r.Coverage.Captured != 600 || r.Coverage.Broken != 0 {
		t.Errorf("coverage %+v", r.Coverage)
	}
}

// TestLatestKeepsUp checks the other policy: frames that nobody was idle for are missing, and said to be.
func TestLatestKeepsUp(t *testing.T) {
	s := newStation(t, link.Latest, 1, spec500())
	m := s.join("analyze-0", nil)
	s.arm(16, 4)
	for seq := range uint64(500) {
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	s.drain()
	r, rest := s.final()
	h := m.Health()
	for r.Coverage.Seen < h.Frames { // the newest frame may come after the end: there is another final result then
		r, _ = s.final()
	}
	if r.Coverage.Captured != 500 || r.Coverage.Seen == 0 || r.Coverage.Seen != h.Frames {
		t.Errorf("coverage %+v, health %+v", r.Coverage, h)
	}
	if h.Bytes != h.Frames*64*64*2 || h.Busy+h.Starved+h.Blocked < 0.99 {
		t.Errorf("health %+v", h)
	}
	checkImages(t, r, rest)
}

// slow is a receiver that gives its frames only when the test says so: a process that was stopped for a while.
type slow struct {
	link.Receiver
	held chan struct{} // closed when frames are being held
	wake chan struct{}
}

func (s *slow) Next(ctx context.Context) (link.Delivery, error) {
	d, err := s.Receiver.Next(ctx)
	if err == nil && d.Kind == frames.KindFrames {
		select {
		case <-s.wake:
		default:
			close(s.held)
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
		}
	}
	return d, err
}

// TestReclaimedFramesAreDiscarded wakes an analyser after its slot was given to other frames: it makes nothing of
// what it finds there.
func TestReclaimedFramesAreDiscarded(t *testing.T) {
	s := newStation(t, link.Latest, 1, spec500())
	stopped := &slow{held: make(chan struct{}), wake: make(chan struct{})}
	s.wrap = func(r link.Receiver) link.Receiver { stopped.Receiver = r; return stopped }
	m := s.join("analyze-0", nil)
	s.arm(6, 3)
	s.capture(0, 0, wave{mean: 100, as: 0.5, ky: 1, kx: 1})
	<-stopped.held
	if f := s.fact(dispatch.Reclaimed); f.Seq != 0 {
		t.Errorf("frame %d was reclaimed", f.Seq)
	}
	for seq := range uint64(60) { // the slots go round
		s.capture(seq+1, int64(seq+1)*2_000_000, ripple)
	}
	close(stopped.wake)
	s.drain()
	r, rest := s.final()
	for r.Coverage.Seen < m.Health().Frames {
		r, _ = s.final()
	}
	if h := m.Health(); h.Skipped != 1 || r.Coverage.Seen != h.Frames {
		t.Errorf("health %+v, coverage %+v", h, r.Coverage)
	}
	for _, msg := range rest {
		if msg.Subject != base+".spectrum.spatial" {
			continue
		}
		var sp analysis.Spatial
		decode(t, msg, analysis.TypeSpatial, s.spec.Run, &sp)
		if sp.Seq == 0 || sp.Coverage.Skipped != 1 || sp.Peaks[0].KX != 12 {
			t.Errorf("frame %d, coverage %+v, peaks %+v", sp.Seq, sp.Coverage, sp.Peaks)
		}
	}
}

// TestStrangersAreAnswered sends what no member sends.
func TestStrangersAreAnswered(t *testing.T) {
	s := newStation(t, link.Lossless, 1, spec500())
	s.join("analyze-0", nil)
	nc := s.srv.Connect("stranger")
	ask := func(b analysis.Batch) byte {
		t.Helper()
		m, err := nc.Request(base+".link.combine.analyze-0", analysis.AppendBatch(nil, b), patience)
		if err != nil {
			t.Fatal(err)
		}
		return m.Data[0]
	}
	s.arm(8, 0)
	good := analysis.Batch{Run: s.spec.Run, Member: "x", Rows: 8, Cols: 8}
	if a := ask(good); a != 0 {
		t.Errorf("an announcement: %d", a)
	}
	other := good
	other.Run = frames.NewRunID()
	if a := ask(other); a != 1 {
		t.Errorf("another run: %d", a)
	}
	grid := good
	grid.Rows = 4
	if a := ask(grid); a != 2 {
		t.Errorf("another grid: %d", a)
	}
	m, err := nc.Request(base+".link.combine.analyze-0", binary.LittleEndian.AppendUint64(nil, 1), patience)
	if err != nil || m.Data[0] != 2 {
		t.Errorf("nonsense: %v, %v", m, err)
	}
	s.capture(0, 0, ripple)
	s.drain()
	// The stranger never says that it is done: the final result waits for a while and comes all the same.
	if r, _ := s.final(); r.Coverage.Seen != 1 || r.Frame != nil || r.Coverage.Segments != 0 {
		t.Errorf("coverage %+v", r.Coverage)
	}
}

// TestOneRunAfterAnother keeps a member through two runs and drains it.
func TestOneRunAfterAnother(t *testing.T) {
	s := newStation(t, link.Lossless, 1, spec500())
	m := s.join("analyze-0", nil)
	for range 2 {
		s.spec.Run = frames.NewRunID()
		s.arm(8, 0)
		for seq := range uint64(30) {
			s.capture(seq, int64(seq)*2_000_000, ripple)
		}
		s.drain()
		if r, _ := s.final(); r.Coverage.Seen != 30 || r.Run != s.spec.Run {
			t.Errorf("run %s, coverage %+v", r.Run, r.Coverage)
		}
		s.dispatcher.CloseRun()
	}
	m.Drain()
	m.Drain()
	select {
	case <-m.over:
	case <-time.After(patience):
		t.Error("a drained analyser goes on")
	}
}

// TestLeave has a member leave in mid-run: it says that it is gone, and the other has the rest.
func TestLeave(t *testing.T) {
	s := newStation(t, link.Lossless, 2, spec500())
	s.join("analyze-0", nil)
	s.fact(dispatch.MemberJoined)
	other := s.join("analyze-1", nil)
	s.arm(64, 0)
	for seq := range uint64(600) {
		if seq == 300 {
			other.Leave()
		}
		s.capture(seq, int64(seq)*2_000_000, ripple)
	}
	select {
	case <-other.over:
	case <-time.After(patience):
		t.Fatal("an analyser that was to leave goes on")
	}
	s.drain()
	if r, _ := s.final(); r.Coverage.Seen != 600 || r.Process != "analyze-0" {
		t.Errorf("process %s, coverage %+v", r.Process, r.Coverage)
	}
}

func TestRunsThatCannotBeAnalysedAreRefused(t *testing.T) {
	s := newStation(t, link.Lossless, 1, spec500())
	s.join("analyze-0", func(c *analysis.Config) { c.Segment, c.SeriesBytes = 8192, 1<<20 })
	err := s.tryArm(8, 0)
	if !errors.Is(err, dispatch.ErrRefusedUsage) {
		t.Errorf("armed: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := analysis.Default()
	good.Camera, good.Member, good.Messenger = camera, "a", analysis.NATS((*nats.Conn)(nil), camera, "a")
	if _, err := analysis.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*analysis.Config){
		"camera":    func(c *analysis.Config) { c.Camera = "a.b" },
		"member":    func(c *analysis.Config) { c.Member = "*" },
		"messenger": func(c *analysis.Config) { c.Messenger = nil },
		"grid":      func(c *analysis.Config) { c.Rows = 40 },
		"window":    func(c *analysis.Config) { c.Window = spectrum.Window("x") },
		"segment":   func(c *analysis.Config) { c.Segment = 17 },
	} {
		c := good
		change(&c)
		if _, err := analysis.New(c); !errors.Is(err, analysis.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
