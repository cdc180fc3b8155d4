package capture

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/bus/bustest"
	"github.com/sluicedaq/sluice/internal/dispatch"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestAlarms shows statuses one after the other: each trouble is told once when it begins, and again when it comes back.
func TestAlarms(t *testing.T) {
	nc, err := nats.Connect(bustest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(bus.EventsSubject("alarms"))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	h := NewHerald(bus.NewPublisher(nc, "alarms", "acquire"), slog.New(slog.DiscardHandler))
	a := newAlarms(h)

	status := func(state string, free uint64, perSecond float64) bus.Status {
		return bus.Status{
			State: bus.StateRunning, Geometry: &frames.Geometry{Height: 1024, Width: 1024, Channels: 1, Dtype: frames.Uint8},
			Rate:    bus.Rate{Durable: perSecond},
			Members: []bus.Member{{Name: "writer-1", Group: "writer", State: state, HeldFrames: 3, Writer: &bus.WriterStatus{Path: "/data", FreeBytes: free}}},
		}
	}
	const gib = 1 << 30
	for _, s := range []bus.Status{
		status("live", 100*gib, 100),                                  // nothing
		status("hung", 100*gib, 100),                                  // hung
		status("hung", 5*gib, 100),                                    // 51 s left: low
		status("live", 4*gib, 100),                                    // still low
		status("live", 100*gib, 100),                                  // somebody has cleaned up
		status("hung", gib/8, 0),                                      // hung and low again, without a rate
		{State: bus.StateIdle, Members: status("hung", 1, 0).Members}, // the end of a run ends its disk's trouble
	} {
		a.look(s)
	}
	h.drain()

	for i, want := range []bus.Kind{bus.EventMemberHung, bus.EventDiskLow, bus.EventMemberHung, bus.EventDiskLow} {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		var e bus.Event
		if err := json.Unmarshal(m.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != want || want == bus.EventDiskLow && (e.Disk == nil || e.Disk.Writer != "writer-1") {
			t.Errorf("event %d: %s", i, m.Data)
		}
	}
	if n, _, err := sub.Pending(); err != nil || n != 0 {
		t.Errorf("%d more events, %v", n, err)
	}
}

// TestFirstFrameTakenBack: the frame has number 0, and the event still says that one was taken back, and from whom.
func TestFirstFrameTakenBack(t *testing.T) {
	nc, err := nats.Connect(bustest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(bus.EventsSubject("takenback"))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	h := NewHerald(bus.NewPublisher(nc, "takenback", "acquire"), slog.New(slog.DiscardHandler))
	h.Note(dispatch.Fact{Kind: dispatch.Reclaimed, Member: "analyze-1", Group: "analyze", PID: 4711, Frames: 1, Seq: 0})
	h.drain()

	m, err := sub.NextMsg(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var e bus.Event
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.Fatal(err)
	}
	want := bus.MemberEvent{Name: "analyze-1", Group: "analyze", PID: 4711, Frames: 1, Reason: bus.ReasonTakenBack}
	if e.Kind != bus.EventMemberHung || e.Seq != 0 || e.Member == nil || *e.Member != want {
		t.Errorf("%s", m.Data)
	}
}
