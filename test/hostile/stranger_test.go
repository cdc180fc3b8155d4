package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicedaq/sluice/internal/analysis"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/spectrum"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestStranger: one who may publish and listen where he likes, but has not overheard the numbers of the connections,
// changes nothing: the run ends with 0, every frame is there, and all that he sent is counted.
func TestStranger(t *testing.T) {
	s := newScene(t, "stranger")
	recording := record(s)
	s.earlier()
	s.start()
	recorded := recording() // a whole run, and of this one the arming, the joins and the first frames
	before := s.await("everybody", func(st bus.Status) bool { return true })
	goroutines := s.goroutines(before)

	s.packets(before)
	s.joins()
	s.requests(before)
	s.results(before)
	s.falsehoods(before)
	played := s.await("a status", func(bus.Status) bool { return true })
	for range 2 {
		rand.Shuffle(len(recorded), func(i, j int) { recorded[i], recorded[j] = recorded[j], recorded[i] })
		for _, m := range recorded {
			if err := s.stranger.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: m.Reply, Header: m.Header, Data: m.Data}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.send("link.join.writer", nil) // acquire has heard all when it has heard these
	s.send("link.up.writer.nobody", nil)
	s.flush()
	s.await("the end of the replay", func(st bus.Status) bool {
		return st.Refused[refusal.Join] > played.Refused[refusal.Join] && st.Refused[refusal.Packet] > played.Refused[refusal.Packet]
	})

	played = s.await("a status", func(bus.Status) bool { return true })
	after := s.await("more frames", func(st bus.Status) bool { return st.Durable > played.Durable+50 && st.State == bus.StateRunning })
	if after.Run != before.Run || len(after.Members) != 3 {
		t.Errorf("run %s with %d members, before it was %s", after.Run, len(after.Members), before.Run)
	}
	for name, n := range s.goroutines(after) {
		if n > goroutines[name]+8 {
			t.Errorf("%s has %d goroutines, before it had %d", name, n, goroutines[name])
		}
	}
	t.Logf("refused by acquire: %v; peak of anonymous memory: %v", after.Refused, s.peak)
	for pid, most := range s.peak {
		limit := int64(128 << 20)
		if pid == after.PID {
			limit = 64 << 20
		}
		if most > limit {
			t.Errorf("process %d took %d bytes, at most %d are its own", pid, most, limit)
		}
	}
	s.stop()
}

// record keeps what is said until the returned function is called.
func record(s *scene) func() []*nats.Msg {
	var mu sync.Mutex
	var all []*nats.Msg
	sub, err := s.stranger.Subscribe(s.subject(">"), func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, m)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return func() []*nats.Msg {
		if err := sub.Unsubscribe(); err != nil {
			s.t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// bodies are what the link's messages may have in them, right and wrong.
func bodies() map[frames.Kind][][]byte {
	last := ^uint64(0)
	offers, releases, losses, shards := []byte(nil), []byte(nil), []byte(nil), []byte(nil)
	for _, seq := range []uint64{0, 1, 31, 32, 1 << 20, 1 << 62, last} {
		for _, slot := range []uint32{0, 1, 1 << 20, 1<<32 - 1} {
			for _, generation := range []uint64{0, 1, 2, 4, last} {
				offers = frames.AppendOffer(offers, frames.Offer{Seq: seq, Slot: slot, Generation: generation, Epoch: seq % 5})
				releases = frames.AppendRelease(releases, frames.Release{Seq: seq, Slot: slot, Generation: generation, Epoch: seq % 5, Outcome: frames.Durable})
			}
		}
		losses = frames.AppendLossRecord(losses, frames.LossRecord{Loss: frames.Loss{Seq: seq, Count: last - seq, Reason: frames.Unwritten, Stage: frames.AtWriter}, Epoch: 1})
		shards = frames.AppendAssignment(shards, frames.Assignment{Shard: seq, Epoch: last})
	}
	deep := []byte(strings.Repeat("[", 100_000))
	return map[frames.Kind][][]byte{
		frames.KindArmed: {[]byte(`{}`), deep}, frames.KindAssign: {shards}, frames.KindFrames: {offers}, frames.KindLosses: {losses},
		frames.KindEvent: {[]byte("\n{"), deep}, frames.KindEnd: {[]byte(`{"captured":18446744073709551615}`)}, frames.KindFinish: {[]byte(`{"summary":{"captured":-1}}`)},
		frames.KindClosed: {[]byte(`{"run":"no"}`)}, frames.KindReady: {[]byte(`{"error":"\u001b[2J"}`)}, frames.KindReleases: {releases},
		frames.KindSettled: {losses}, frames.KindSealed: {shards}, frames.KindFinished: {[]byte(`{"summary":{}}`)}, frames.KindFailed: {[]byte(`{"error":"x","disk_full":true}`)},
		frames.KindHeartbeat: {[]byte(`{"frames":18446744073709551615,"busy":1e308}`), nil}, frames.KindReset: {nil}, 200: {nil, deep},
	}
}

// packets sends everything that the link has, under connection numbers that nobody has.
func (s *scene) packets(before bus.Status) {
	names := []string{"writer.nobody"}
	for _, m := range before.Members {
		names = append(names, m.Group+"."+m.Name)
	}
	writer := s.member("writer-1", func(bus.MemberStatus) bool { return true })
	unknown, malformed, toWriter := uint64(0), uint64(0), uint64(0)
	for kind, list := range bodies() {
		for _, body := range list {
			for _, n := range []uint64{0, 1, 2, 1000, 1 << 40, ^uint64(0)} {
				b := frames.AppendPacket(nil, frames.Packet{Kind: kind, Conn: rand.Uint64(), N: n, Ack: ^n, Body: body})
				for _, name := range names {
					s.send("link.up."+name, b)
					s.send("link.down."+name, b)
					if kind != frames.KindReset {
						unknown++
					}
				}
				toWriter++
			}
		}
	}
	for _, b := range [][]byte{nil, {0}, []byte("SLU1"), bytes.Repeat([]byte("SLU1"), 1<<18), bytes.Repeat([]byte{0xff}, 64)} {
		for _, name := range append(names, "writer.NO", "writer."+strings.Repeat("n", 200)) {
			s.send("link.up."+name, b)
			s.send("link.down."+name, b)
			malformed++
		}
	}
	s.flush()
	// acquire's resets go to the members, under the numbers that they don't have.
	s.counted("packets", before.Refused, map[refusal.Kind]uint64{refusal.Unknown: unknown, refusal.Packet: malformed})
	after := s.member("writer-1", func(m bus.MemberStatus) bool {
		return m.Refused[refusal.Packet] >= writer.Refused[refusal.Packet]+5 && m.Refused[refusal.Unknown] >= writer.Refused[refusal.Unknown]+toWriter
	})
	if n := after.Refused[refusal.Packet] - writer.Refused[refusal.Packet]; n != 5 {
		s.t.Errorf("writer-1 refused %d malformed packets, want 5", n)
	}
}

// joins asks to join ten thousand times and more.
func (s *scene) joins() {
	before := s.await("a status", func(bus.Status) bool { return true })
	sub, err := s.stranger.Subscribe(s.subject("link.down.writer.*"), func(*nats.Msg) {})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	ask := func(j any, id uint64) {
		body, err := json.Marshal(j)
		if err != nil {
			s.t.Fatal(err)
		}
		s.send("link.join.writer", frames.AppendPacket(nil, frames.Packet{Kind: frames.KindJoin, Conn: id, Body: body}))
	}
	n := uint64(0)
	for i := range 10_000 {
		id := rand.Uint64() | 1
		ask(link.Join{V: link.Version, Group: "writer", Name: fmt.Sprintf("x-%d", i), PID: 1, Nonce: "n", Conn: id}, id)
		n++
		if i%1000 == 999 {
			s.flush()
		}
	}
	writer := before.Members[slices.IndexFunc(before.Members, func(m bus.Member) bool { return m.Group == "writer" })]
	claims := make([]link.Claim, 2000)
	for i := range claims {
		claims[i] = link.Claim{Shard: uint64(i), Epoch: ^uint64(0)}
	}
	for i, j := range []link.Join{
		{V: link.Version, Group: "writer", Name: writer.Name, PID: writer.PID + 1, Nonce: "n"},
		{V: link.Version, Group: "writer", Name: "w\x1b[2J", PID: 1}, {V: link.Version, Group: "writer", Name: strings.Repeat("x", 900_000), PID: 1},
		{V: link.Version, Group: "writer", Name: "../../etc", PID: 1}, {V: link.Version, Group: "writer", Name: "", PID: 1},
		{V: link.Version, Group: "writer", Name: "x", PID: 1, Host: strings.Repeat("h", 900_000)}, {V: link.Version, Group: "writer", Name: "x", PID: 1, Nonce: strings.Repeat("n", 65)},
		{V: link.Version, Group: "writer", Name: "x", PID: 1, Claims: claims}, {V: link.Version, Group: "writer", Name: "x", PID: -1}, {V: link.Version, Group: "writer", Name: "x", Restarts: -1},
		{V: link.Version + 1, Group: "writer", Name: "x", PID: 1}, {V: 0, Group: "writer", Name: "x", PID: 1}, {V: link.Version, Group: "nobody", Name: "x", PID: 1},
		{V: link.Version, Group: strings.Repeat("g", 65), Name: "x", PID: 1}, {V: link.Version, Group: "analyze\x00", Name: "x", PID: 1},
	} {
		j.Conn = uint64(i) + 1
		ask(j, j.Conn)
		n++
	}
	ask(link.Join{V: link.Version, Group: "writer", Name: "x", PID: 1, Conn: 0}, 0)
	ask(link.Join{V: link.Version, Group: "writer", Name: "x", PID: 1, Conn: 5}, 6)
	ask([]int{1}, 7)
	ask(map[string]any{"v": "one"}, 8)
	for _, b := range [][]byte{nil, []byte("join me"), frames.AppendPacket(nil, frames.Packet{Kind: frames.KindReleases, Conn: 9})} {
		s.send("link.join.writer", b)
		n++
	}
	s.flush()
	s.counted("joins", before.Refused, map[refusal.Kind]uint64{refusal.Join: n + 4})
}

// requests asks acquire for what is not to be had.
func (s *scene) requests(before bus.Status) {
	before = s.await("a status", func(bus.Status) bool { return true })
	big := append(append([]byte(`{"source":"`), bytes.Repeat([]byte("x"), 10<<20)...), `"}`...)
	n := uint64(0)
	for _, verb := range bus.Verbs() {
		for _, body := range [][]byte{
			big, []byte(strings.Repeat("[", 60_000)), []byte(`{"run":7}`), []byte(`{"run":"\u001b"}`), []byte(`{"` + strings.Repeat("k", 60_000) + `":1}`),
			[]byte(`{"run`), []byte("\xff\xfe{}"), []byte(`{} {}`), []byte(`{"frames":-1,"frames":1e400}`), []byte(`7`), []byte(`"start"`),
			[]byte(`{"hard":"yes"}`), []byte("{\x00}"), []byte(`{"\u202e":null}`),
		} {
			s.refusedRequest(verb, body)
			n++
		}
		for _, reply := range []string{"", s.subject("events"), s.subject("control.stop"), s.subject("link.join"), "$SRV.PING", "sluice.other.control.stop"} {
			if err := s.stranger.PublishMsg(&nats.Msg{Subject: bus.ControlSubject(s.Camera, verb), Reply: reply, Data: []byte("{}")}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for _, r := range []bus.ArmRequest{{}, {Store: "../out.zarr"}, {Store: "/etc/x.zarr"}, {Store: strings.Repeat("x", 5000) + ".zarr"}, {Store: "a\nb.zarr"}} {
		if _, err := s.client.Arm(s.t.Context(), r); err == nil {
			s.t.Errorf("armed in mid-run: %+v", r)
		}
	}
	if _, err := s.client.Stop(s.t.Context(), bus.StopRequest{Run: frames.NewRunID()}); err == nil {
		s.t.Error("another run was stopped")
	}
	s.flush()
	s.counted("requests", before.Refused, map[refusal.Kind]uint64{
		refusal.Request: n, refusal.Answer: uint64(6 * len(bus.Verbs())),
	})

	// A flood of requests for the status: whoever asks all the same gets an answer, and the camera goes on.
	frame := s.await("a status", func(bus.Status) bool { return true }).Captured
	inbox := s.stranger.NewInbox()
	for range 30_000 {
		if err := s.stranger.PublishRequest(bus.ControlSubject(s.Camera, bus.VerbStatus), inbox, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, subject := range []string{"$SRV.PING", "$SRV.INFO", "$SRV.STATS.sluice-acquire"} {
		for range 1000 {
			if err := s.stranger.PublishRequest(subject, inbox, bytes.Repeat([]byte("x"), 1000)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	s.flush()
	s.await("frames during a flood of requests", func(st bus.Status) bool { return st.Captured > frame+50 })
}

// refusedRequest asks and must be refused as one who has made a mistake.
func (s *scene) refusedRequest(verb bus.Verb, body []byte) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	m, err := s.stranger.RequestWithContext(ctx, bus.ControlSubject(s.Camera, verb), body)
	if err != nil {
		s.t.Fatalf("%s: %.100q: %v", verb, body, err)
	}
	var r bus.Reply
	if err := json.Unmarshal(m.Data, &r); err != nil || r.OK || r.Error == nil || r.Error.Code != 2 || len(m.Data) > 8192 || strings.ContainsAny(r.Error.Message, "\x1b\n\u202e") {
		s.t.Errorf("%s: %.100q is answered with %.500q, %v", verb, body, m.Data, err)
	}
}

// results publishes spectra and partial results that are none, and awaits that they are counted.
func (s *scene) results(before bus.Status) {
	primary := before.Members[slices.IndexFunc(before.Members, func(m bus.Member) bool { return m.Group == "writer" && m.Primary })].Name
	writer := s.member(primary, func(bus.MemberStatus) bool { return true })
	analyser := s.member("analyze-1", func(bus.MemberStatus) bool { return true })
	result := func(v int, camera, kind, process string) []byte {
		return fmt.Appendf(nil, `{"v":%d,"type":%q,"camera":%q,"run":%q,"process":%q,"n":18446744073709551615}`, v, kind, camera, before.Run, process)
	}
	wrong := [][]byte{
		nil, []byte("{"), []byte("[[["), []byte(`{"v":1}`), result(2, s.Camera, "spectrum.spatial", "x"), result(1, "other", "spectrum.spatial", "x"),
		result(1, s.Camera, "reply", "x"), result(1, s.Camera, "spectrum.spatial", "../x"), []byte(strings.Repeat("[", 1_000_000)),
	}
	for _, b := range wrong {
		s.send("spectrum.spatial", b)
	}
	if err := s.stranger.PublishRequest(s.subject("spectrum.spatial"), s.subject("control.stop"), result(1, s.Camera, "spectrum.spatial", "x")); err != nil {
		s.t.Fatal(err)
	}
	good := analysis.Batch{Run: before.Run, Member: "liar", Rows: 8, Cols: 8}
	far := good
	far.Samples = []spectrum.Sample{{Seq: 1<<62 - 1, Means: make([]float64, 65)}}
	grid := good
	grid.Rows = 7
	name := good
	name.Member = "../x"
	batches := [][]byte{
		nil, []byte("SLP1"), bytes.Repeat([]byte("SLP1"), 1<<16), analysis.AppendBatch(nil, far), analysis.AppendBatch(nil, grid),
		analysis.AppendBatch(nil, name), append(analysis.AppendBatch(nil, good), 1),
	}
	for _, b := range batches {
		if _, err := s.stranger.Request(s.subject("link.combine.analyze-1"), b, patience); err != nil {
			s.t.Errorf("a batch: %v", err)
		}
	}
	s.flush()
	w := s.member(primary, func(m bus.MemberStatus) bool {
		return m.Refused[refusal.Result] >= writer.Refused[refusal.Result]+uint64(len(wrong))+1
	})
	if n := w.Refused[refusal.Result] - writer.Refused[refusal.Result]; n != uint64(len(wrong))+1 {
		s.t.Errorf("%s refused %d results, want %d", primary, n, len(wrong)+1)
	}
	a := s.member("analyze-1", func(m bus.MemberStatus) bool {
		return m.Refused[refusal.Batch] >= analyser.Refused[refusal.Batch]+uint64(len(batches))
	})
	if n := a.Refused[refusal.Batch] - analyser.Refused[refusal.Batch]; n != uint64(len(batches)) {
		s.t.Errorf("analyze-1 refused %d batches, want %d", n, len(batches))
	}
}

// falsehoods publishes what only acquire says: nobody believes it.
func (s *scene) falsehoods(before bus.Status) {
	summary := run.Summary{V: 1, Run: before.Run, Store: "/etc/\x1b[2Jpasswd", Camera: s.Camera, Dtype: frames.Uint8, Captured: 7, Lost: 7, EndedBy: "\x1b[31m", Warnings: []string{"\x07"}}
	publisher := bus.NewPublisher(s.stranger, s.Camera, "acquire")
	for range 300 {
		for _, kind := range []bus.Kind{bus.EventFinished, bus.EventFault, bus.EventDrained, bus.EventStopping, bus.EventMemberLost, "\x1b[2J"} {
			if _, err := publisher.Event(before.Run, &bus.Event{N: ^uint64(0), Kind: kind, Text: "over\x1b[2J\n", Code: 1, Summary: &summary}); err != nil {
				s.t.Fatal(err)
			}
		}
		st := bus.Status{State: bus.StateFault, Reason: "\x1b[2J", LastRun: &summary}
		if err := publisher.Status(before.Run, &st); err != nil {
			s.t.Fatal(err)
		}
	}
	s.send("events", []byte(strings.Repeat("{", 1<<20)))
	s.send("status", []byte("{}"))
	s.send("backpressure", []byte{0xff})
	s.flush()
}
