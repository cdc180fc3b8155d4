package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/shm"
	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/slab"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

const shmDir = "/dev/shm"

// impostor plays acquire to one real member.
type impostor struct {
	*scene
	listener link.Listener
	conn     link.Conn
	member   string
	group    string
	program  *programs.Running
}

// impersonate starts a member, and lets it join.
func impersonate(t *testing.T, group string) *impostor {
	t.Helper()
	p := &impostor{scene: newScene(t, "false-"+group), group: group, member: group + "-1"}
	p.began = time.Now()
	nc := programs.Connect(t, p.url)
	var err error
	p.listener, err = link.Listen(link.ListenerConfig{
		Transport: link.NATS(nc), Base: "sluice." + p.Camera, Groups: []string{group}, Alive: shm.Alive(shmDir, p.Camera),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.listener.Close() })
	// What is no slab of this host may be another host's, whose pixels come in messages: these members are told that it is not.
	args := []string{"--nats", p.url, "--camera", p.Camera, "--name", p.member, "--link", "shm"}
	if group == "writer" {
		args = append(args, "--out", p.Out)
	}
	p.program = bin.Start(t, group, args...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if p.conn, err = p.listener.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	return p
}

func (p *impostor) say(kind frames.Kind, body any) {
	p.t.Helper()
	b, raw := body.([]byte)
	if !raw {
		var err error
		if b, err = json.Marshal(body); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.conn.Send(kind, b); err != nil {
		p.t.Fatalf("kind %d: %v", kind, err)
	}
}

// hear awaits the next message of a kind.
func (p *impostor) hear(kind frames.Kind) []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		got, body, err := p.conn.Receive(ctx)
		if err != nil {
			p.t.Fatalf("waiting for kind %d: %v", kind, err)
		}
		if got == kind {
			return body
		}
	}
}

// refused awaits the answer to an Armed, which must be a refusal in one plain line.
func (p *impostor) refused(what string) {
	p.t.Helper()
	var r link.Ready
	if err := json.Unmarshal(p.hear(frames.KindReady), &r); err != nil || r.Error == "" || len(r.Error) > 6000 || strings.ContainsAny(r.Error, "\n\x1b\x00") {
		p.t.Errorf("%s: answered with %+v, %v", what, r, err)
	}
}

// spec is a run of 64 KiB frames, eight a shard.
func (p *impostor) spec() run.Spec {
	return run.Spec{
		Run: frames.NewRunID(), Camera: p.Camera, Geometry: frames.Geometry{Height: 256, Width: 256, Channels: 1, Dtype: frames.Uint8},
		ShardFrames: 8, Store: "false.ome.zarr", Codec: "none", Source: source, Started: time.Now().UTC(),
		Device: run.Device{SignificantBits: 8},
	}
}

// memory is a slab for a run.
func (p *impostor) memory(spec run.Spec) *slab.Slab {
	p.t.Helper()
	s, err := slab.Create(slab.Config{Dir: shmDir, Spec: spec, Slots: 16})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := errors.Join(s.Remove(), s.Close()); err != nil {
			p.t.Error(err)
		}
	})
	return s
}

// put stores a frame, whose pixels are all alike, and returns its offer.
func put(s *slab.Slab, seq, epoch uint64) frames.Offer {
	slot, _ := s.Take()
	copy(s.Pixels(slot), bytes.Repeat([]byte{byte(seq)}, s.Spec().Geometry.FrameBytes()))
	return s.Commit(slot, frames.Header{Seq: seq, FrameID: seq, DeviceNS: int64(seq), HostNS: time.Now().UnixNano()}, 1).Offer(slot, epoch)
}

func armed(s *slab.Slab, policy link.Policy, primary string) link.Armed {
	return link.Armed{Spec: s.Spec(), Slab: s.Path(), Policy: policy, Primary: primary}
}

// badRuns sends runs that nobody can take, and returns how many of them were no runs at all.
func (p *impostor) badRuns(good link.Armed) (counted uint64) {
	dir := slab.UserDir(shmDir)
	linked := filepath.Join(dir, p.Camera+".linked.slab")
	if err := os.Symlink(good.Slab, linked); err != nil {
		p.t.Fatal(err)
	}
	defer os.Remove(linked)
	short := filepath.Join(dir, p.Camera+".short.slab")
	if err := os.WriteFile(short, []byte("SLUICESL"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	defer os.Remove(short)
	for what, change := range map[string]func(*link.Armed){
		"no geometry":        func(a *link.Armed) { a.Spec.Geometry = frames.Geometry{Dtype: frames.Uint8} },
		"huge frames":        func(a *link.Armed) { a.Spec.Geometry.Height = 1 << 40 },
		"another shape":      func(a *link.Armed) { a.Spec.Geometry.Height++ },
		"no shards":          func(a *link.Armed) { a.Spec.ShardFrames = 0 },
		"huge shards":        func(a *link.Armed) { a.Spec.ShardFrames = 1 << 63 },
		"no end":             func(a *link.Armed) { a.Spec.Frames = ^uint64(0) },
		"no run":             func(a *link.Armed) { a.Spec.Run = frames.RunID{} },
		"another run":        func(a *link.Armed) { a.Spec.Run = frames.NewRunID() },
		"another camera":     func(a *link.Armed) { a.Spec.Camera = "other" },
		"no policy":          func(a *link.Armed) { a.Policy = "mine\x1b[2J" },
		"no slab":            func(a *link.Armed) { a.Slab = "" },
		"a slab above":       func(a *link.Armed) { a.Slab = filepath.Join(dir, "..", "x.slab") },
		"a slab that climbs": func(a *link.Armed) { a.Slab = dir + "/../" + filepath.Base(dir) + "/x.slab" },
		"a system's file":    func(a *link.Armed) { a.Slab = "/etc/passwd" },
		"a linked slab":      func(a *link.Armed) { a.Slab = linked },
		"a short slab":       func(a *link.Armed) { a.Slab = short },
		"an endless path":    func(a *link.Armed) { a.Slab = dir + "/" + strings.Repeat("x", 500_000) + ".slab" },
		"NUL in the path":    func(a *link.Armed) { a.Slab = dir + "/a\x00b.slab" },
	} {
		a := good
		change(&a)
		p.say(frames.KindArmed, a)
		p.refused(what)
		counted++
	}
	for _, body := range []string{``, `7`, `{"spec":{"run":"x"}}`, `{"spec":{"geometry":{"height":1e99}}}`, strings.Repeat("[", 20_000), `{"policy`} {
		p.say(frames.KindArmed, []byte(body))
		counted++
	}
	return counted
}

// garbage is what acquire says to nobody, in a run: how much of it breaks the rules, is offered from outside of the slab, and
// is stale.
func (p *impostor) garbage(good frames.Offer) (message, offer, stale uint64) {
	last := ^uint64(0)
	for _, m := range []struct {
		kind frames.Kind
		body []byte
	}{
		{frames.KindFrames, nil}, {frames.KindFrames, make([]byte, 55)}, {frames.KindFrames, bytes.Repeat([]byte{0xff}, 111)},
		{frames.KindAssign, make([]byte, 17)}, {frames.KindAssign, frames.AppendAssignment(nil, frames.Assignment{Shard: last, Epoch: 1})},
		{frames.KindAssign, frames.AppendAssignment(nil, frames.Assignment{Shard: 1, Epoch: 0})},
		{frames.KindLosses, make([]byte, 64)}, {frames.KindLosses, lossOf(6, 4)}, {frames.KindLosses, lossOf(1<<62, 1)}, {frames.KindLosses, lossOf(0, last)},
		{frames.KindEnd, []byte(`{"captured":18446744073709551615}`)}, {frames.KindEnd, []byte(`{"captured":-1}`)}, {frames.KindEnd, []byte(strings.Repeat(`{"run":`, 20_000))},
		{frames.KindFinish, []byte(`{"summary":{"captured":9223372036854775808}}`)}, {frames.KindFinish, nil}, {frames.KindClosed, []byte(`[`)},
		{frames.KindReleases, make([]byte, 32)}, {frames.KindReady, []byte(`{}`)}, {200, bytes.Repeat([]byte("x"), 1<<20-32)}, {0, nil},
	} {
		p.say(m.kind, m.body)
		message++
	}
	for _, change := range []func(*frames.Offer){
		func(o *frames.Offer) { o.Slot = 16 }, func(o *frames.Offer) { o.Slot = 1<<32 - 1 },
		func(o *frames.Offer) { o.Seq++ }, func(o *frames.Offer) { o.Seq = last }, func(o *frames.Offer) { o.Slot++ },
		func(o *frames.Offer) { o.Generation++ }, func(o *frames.Offer) { o.Generation += 2 }, func(o *frames.Offer) { o.Generation = 0 },
		func(o *frames.Offer) { o.Generation = last }, func(o *frames.Offer) { o.HostNS = -1 }, func(o *frames.Offer) { o.FrameID = 0; o.DeviceNS = 1 << 62 },
		func(o *frames.Offer) { o.Checksum++ },
	} {
		o := good
		change(&o)
		p.say(frames.KindFrames, frames.AppendOffer(nil, o))
		if o.Slot >= 16 {
			offer++
		} else {
			stale++
		}
	}
	p.say(frames.KindFrames, bytes.Repeat([]byte{0xff}, 2*frames.OfferSize))
	return message, offer + 2, stale
}

func lossOf(seq, count uint64) []byte {
	return frames.AppendLossRecord(nil, frames.LossRecord{Loss: frames.Loss{Seq: seq, Count: count, Reason: frames.Dropped, Stage: frames.AtAcquire}, Epoch: 1})
}

// refusals awaits that the member has refused exactly so many.
func (p *impostor) refusals(what string, want map[refusal.Kind]uint64) {
	p.t.Helper()
	m := p.own(func(m bus.MemberStatus) bool {
		for k, n := range want {
			if m.Refused[k] < n {
				return false
			}
		}
		return true
	})
	for k, n := range want {
		if m.Refused[k] != n {
			p.t.Errorf("%s: %d of kind %s were refused, want %d", what, m.Refused[k], k, n)
		}
	}
	if m.RSSBytes > 128<<20 || m.Goroutines > 400 {
		p.t.Errorf("%s: %d bytes, %d goroutines", what, m.RSSBytes, m.Goroutines)
	}
}

func (p *impostor) own(want func(bus.MemberStatus) bool) bus.MemberStatus {
	p.t.Helper()
	return p.scene.member(p.member, want)
}

// leave has the member leave, which must not have crashed.
func (p *impostor) leave() {
	p.t.Helper()
	select {
	case <-p.program.Done():
		p.t.Fatalf("it has ended: %+v", p.program.Wait(p.t))
	default:
	}
	p.program.Signal(p.t, syscall.SIGTERM)
	r := p.program.Wait(p.t)
	if r.Code != 0 {
		p.t.Errorf("exit code %d\n%s", r.Code, r.Stderr)
	}
	p.bounded(r.Stderr)
}

// bounded checks a member's own log.
func (p *impostor) bounded(log string) {
	p.t.Helper()
	seconds := int(time.Since(p.began).Seconds()) + 2
	if n := strings.Count(log, "msg=refused"); n == 0 || n > 4*seconds {
		p.t.Errorf("%d lines of refusals in %d seconds\n%.2000s", n, seconds, log)
	}
	if n := strings.Count(log, "\n"); n > 4*seconds+100 || strings.Contains(log, "panic") || strings.ContainsAny(log, "\x1b\x00") {
		p.t.Errorf("%d lines:\n%.4000s", n, log)
	}
}

// TestHostileAcquire: whatever one says who plays acquire, a writer refuses it, counts it, and works on.
func TestHostileAcquire(t *testing.T) {
	p := impersonate(t, "writer")
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(p.Out, "linked.ome.zarr")); err != nil {
		t.Fatal(err)
	}
	spec := p.spec()
	s := p.memory(spec)
	good := armed(s, link.Lossless, p.member)
	want := map[refusal.Kind]uint64{refusal.Message: p.badRuns(good)}
	for _, name := range []string{
		"", ".", "..", "../up.ome.zarr", "/etc/x.ome.zarr", "a/b.ome.zarr", ".hidden.zarr", "a\x00b.zarr", "a\nb.zarr", "\x1b[2J.zarr", "\u202egnp.zarr",
		strings.Repeat("x", 5000) + ".zarr", "linked.ome.zarr",
	} {
		a := good
		a.Spec.Run, a.Spec.Store = frames.NewRunID(), name
		other := p.memory(a.Spec)
		a.Slab = other.Path()
		p.say(frames.KindArmed, a)
		p.refused(fmt.Sprintf("the store %.20q", name))
		want[refusal.Message]++
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside of the root there are %d names, %v", len(left), err)
	}

	p.say(frames.KindArmed, good)
	var ready link.Ready
	if err := json.Unmarshal(p.hear(frames.KindReady), &ready); err != nil || ready.Error != "" || ready.Path != filepath.Join(p.Out, spec.Store) {
		t.Fatalf("ready %+v, %v", ready, err)
	}
	changed := good
	changed.Spec.ShardFrames = 4
	p.say(frames.KindArmed, changed)
	want[refusal.Message]++
	p.say(frames.KindEvent, []byte("\n{"))
	want[refusal.Message]++
	message, offer, stale := p.garbage(put(s, 0, 7))
	want[refusal.Message] += message
	want[refusal.Offer], want[refusal.Stale] = offer, stale
	var flood []byte
	for shard := range uint64(10_000) {
		flood = frames.AppendAssignment(flood, frames.Assignment{Shard: 100 + shard, Epoch: 1})
	}
	p.say(frames.KindAssign, flood)
	want[refusal.Message] += 10_000 - 64
	p.refusals("in a run", want)

	// Of the shards that it did take there are none; the run's own is worked on all the same, under its name's turn.
	p.say(frames.KindClosed, link.Closed{Run: spec.Run})
	p.wholeRun()
	p.cutShort()
	p.leave()
}

// wholeRun is one in which acquire behaves.
func (p *impostor) wholeRun() {
	p.t.Helper()
	spec := p.spec()
	spec.Store = "good.ome.zarr"
	s := p.memory(spec)
	p.say(frames.KindArmed, armed(s, link.Lossless, p.member))
	p.hear(frames.KindReady)
	p.say(frames.KindAssign, frames.AppendAssignment(nil, frames.Assignment{Shard: 0, Epoch: 1}))
	var offers []byte
	for seq := range uint64(8) {
		offers = frames.AppendOffer(offers, put(s, seq, 1))
	}
	p.say(frames.KindFrames, offers)
	for n := 0; n < 8; {
		rels, err := frames.DecodeReleases(nil, p.hear(frames.KindReleases))
		if err != nil || slices.ContainsFunc(rels, func(r frames.Release) bool { return r.Outcome != frames.Durable }) {
			p.t.Fatalf("releases %+v, %v", rels, err)
		}
		n += len(rels)
	}
	p.say(frames.KindEnd, link.End{Run: spec.Run, Captured: 8})
	p.hear(frames.KindSealed)
	p.say(frames.KindFinish, link.Finish{Run: spec.Run, Summary: run.Summary{V: 1, Captured: 8, Dtype: frames.Uint8, EndedBy: run.EndedFrames, LostByReason: map[string]uint64{}, Warnings: []string{}}})
	var f link.Finished
	if err := json.Unmarshal(p.hear(frames.KindFinished), &f); err != nil || f.Error != "" || f.Summary.Written != 8 || f.Summary.Lost != 0 {
		p.t.Fatalf("finished %+v, %v", f, err)
	}
	p.say(frames.KindClosed, link.Closed{Run: spec.Run})
	bin.Verify(p.t, f.Summary)
}

// cutShort cuts the slab of a run short before its frames are read.
func (p *impostor) cutShort() {
	p.t.Helper()
	spec := p.spec()
	spec.Store = "cut.ome.zarr"
	s := p.memory(spec)
	offer := put(s, 0, 1)
	p.say(frames.KindArmed, armed(s, link.Lossless, p.member))
	p.hear(frames.KindReady)
	if err := os.Truncate(s.Path(), int64(s.Bytes()-16*s.Stride())); err != nil {
		p.t.Fatal(err)
	}
	if p.group == "writer" {
		p.say(frames.KindAssign, frames.AppendAssignment(nil, frames.Assignment{Shard: 0, Epoch: 1}))
	}
	p.say(frames.KindFrames, frames.AppendOffer(nil, offer))
	if p.group == "writer" {
		var f link.Failed
		if err := json.Unmarshal(p.hear(frames.KindFailed), &f); err != nil || f.Run != spec.Run || !strings.Contains(f.Error, frames.ErrFault.Error()) {
			p.t.Errorf("failed %+v, %v", f, err)
		}
	} else {
		p.hear(frames.KindReleases)
	}
	p.say(frames.KindClosed, link.Closed{Run: spec.Run})
}

// TestHostileAcquireOfAnalyser: the same for an analyser.
func TestHostileAcquireOfAnalyser(t *testing.T) {
	p := impersonate(t, "analyze")
	s := p.memory(p.spec())
	good := armed(s, link.Latest, p.member)
	want := map[refusal.Kind]uint64{refusal.Message: p.badRuns(good)}
	p.say(frames.KindArmed, good)
	var ready link.Ready
	if err := json.Unmarshal(p.hear(frames.KindReady), &ready); err != nil || ready.Error != "" {
		t.Fatalf("ready %+v, %v", ready, err)
	}
	offered := put(s, 0, 0)
	message, offer, stale := p.garbage(offered)
	want[refusal.Message] += message
	want[refusal.Offer], want[refusal.Stale] = offer, stale
	p.refusals("in a run", want)
	p.say(frames.KindFrames, frames.AppendOffer(nil, offered))
	var released []frames.Release // what is stale is given back as it came: acquire waits for it
	for uint64(len(released)) < stale+1 {
		var err error
		if released, err = frames.DecodeReleases(released, p.hear(frames.KindReleases)); err != nil {
			t.Fatal(err)
		}
	}
	if r := released[stale]; uint64(len(released)) != stale+1 || r.Seq != offered.Seq || r.Generation != offered.Generation || r.Slot != offered.Slot {
		t.Errorf("released %+v", released)
	}
	if m := p.own(func(m bus.MemberStatus) bool { return m.Frames > 0 }); m.Frames != 1 {
		t.Errorf("%d frames were analysed, want 1", m.Frames)
	}
	p.say(frames.KindClosed, link.Closed{Run: good.Spec.Run})
	p.cutShort()
	want[refusal.Offer]++
	p.refusals("of a slab that was cut short", want)
	p.leave()
}
