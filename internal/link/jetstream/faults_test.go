package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/link/linktest"
	"github.com/sluicedaq/sluice/pkg/backpressure"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestLargeFrames: frames larger than what a broker takes in a message are cut, and whole at the member.
func TestLargeFrames(t *testing.T) {
	for _, payload := range []int32{1000, 64 << 10, 1 << 20, 8 << 20} {
		b := newBrokers(t, 1, func(o *server.Options) { o.MaxPayload = payload })
		s := newStation(t, b, linktest.Spec(1531, 1013), 4, Config{})
		c := s.join(t.Context(), "w0", 8<<20, link.Lossless)
		if r := c.agree(); r.Error != "" || r.Carrier != link.JetStream || r.Window != 5 {
			t.Fatalf("payload %d: %+v", payload, r)
		}
		c.offer(0, 1, 2)
		for seq := range uint64(3) {
			f := c.next(seq)
			if f.Frame.FrameID != seq+7 {
				t.Errorf("frame id %d", f.Frame.FrameID)
			}
			c.giveBack(f)
		}
		until(t, "the stream is empty", func() bool { return b.stream(t, s.base).Bytes == 0 })
	}
}

// TestFullStream: what has no room in the stream waits in the slab, whole, and none of it is lost. No part of a frame that
// has no room is in the stream.
func TestFullStream(t *testing.T) {
	b := newBrokers(t, 1, nil)
	const size = 1 << 20
	s := newStation(t, b, linktest.Spec(1024, 1024), 16, Config{MaxBytes: 5 * size})
	c := s.join(t.Context(), "w0", 64<<20, link.Lossless)
	c.agree()
	other := s.join(t.Context(), "w1", 64<<20, link.Lossless)
	other.agree()
	// A member may have half of it, which is two frames: the other half is for another.
	c.offer(0, 1, 2, 3, 4)
	first, second := c.next(0), c.next(1)
	other.offer(10, 11, 12)
	third, fourth := other.next(10), other.next(11)
	if g := s.feeder.budget.Gauge(); g.Used < 4*size || g.Used > s.feeder.cfg.MaxBytes || g.State != backpressure.Throttled {
		t.Errorf("%d bytes of %d are in use, state %v", g.Used, s.feeder.cfg.MaxBytes, g.State)
	}
	until(t, "the stream has nothing that nobody may have", func() bool { return b.stream(t, s.base).Bytes == 0 })
	if len(c.got) > 0 || len(other.got) > 0 {
		t.Errorf("%d and %d frames came beyond the window", len(c.got), len(other.got))
	}
	c.giveBack(first)
	third2 := c.next(2)
	other.giveBack(third)
	c.giveBack(second)
	c.giveBack(third2)
	c.giveBack(c.next(3))
	c.giveBack(c.next(4))
	other.giveBack(fourth)
	other.giveBack(other.next(12))
	if g := s.feeder.budget.Gauge(); g.Used != 0 || g.State != backpressure.Open {
		t.Errorf("%d bytes are in use at the end, state %v", g.Used, g.State)
	}
}

// TestRefused: a stream smaller than a frame, and a broker without JetStream, are said to be the reason.
func TestRefused(t *testing.T) {
	for what, c := range map[string]struct {
		max    int64
		change func(*server.Options)
		want   string
	}{
		"too small":    {max: 1 << 20, want: "the stream is too small"},
		"no JetStream": {max: 64 << 20, change: func(o *server.Options) { o.JetStream = false }, want: "JetStream can't be used"},
		"no room":      {max: 1 << 40, want: "JetStream can't be used"},
	} {
		s := newStation(t, newBrokers(t, 1, c.change), linktest.Spec(1024, 1024), 4, Config{MaxBytes: c.max})
		if r := s.join(t.Context(), "w0", 8<<20, link.Lossless).agree(); !strings.Contains(r.Error, c.want) || !r.Usage {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// TestStreamLost: what the broker had is gone with it, the stream and the member's consumer. The member gets every frame
// all the same, and the run goes on.
func TestStreamLost(t *testing.T) {
	for name, storage := range map[string]jetstream.StorageType{"memory": jetstream.MemoryStorage, "file": jetstream.FileStorage} {
		t.Run(name, func(t *testing.T) {
			b := newBrokers(t, 1, nil)
			s := newStation(t, b, linktest.Spec(1024, 512), 64, Config{Storage: storage})
			c := s.join(t.Context(), "w0", 8<<20, link.Lossless)
			c.agree()
			released := make(chan frames.Release, 64)
			c.serve(released)
			var seqs []uint64
			for seq := range uint64(48) {
				seqs = append(seqs, seq)
			}
			c.offer(seqs...)
			for _, seq := range seqs {
				if seq == 5 || seq == 20 {
					b.restart(0)
				}
				f := c.next(seq)
				c.Release([]link.Offered{f}, frames.Durable)
			}
			for range seqs {
				c.released(released)
			}
		})
	}
}

// TestServerKilled: one of three servers is killed, the stream's leader among them once, while frames flow.
func TestServerKilled(t *testing.T) {
	b := newBrokers(t, 3, nil)
	s := newStation(t, b, linktest.Spec(1024, 512), 64, Config{Storage: jetstream.FileStorage})
	c := s.join(t.Context(), "w0", 8<<20, link.Lossless)
	if r := c.agree(); r.Error != "" {
		t.Fatal(r.Error)
	}
	released := make(chan frames.Release, 64)
	c.serve(released)
	for round := range uint64(3) {
		var seqs []uint64
		for seq := range uint64(20) {
			seqs = append(seqs, round*20+seq)
		}
		c.offer(seqs...)
		for i, seq := range seqs {
			if i == 5 {
				b.stop(int(round))
			}
			c.Release([]link.Offered{c.next(seq)}, frames.Durable)
		}
		for range seqs {
			c.released(released)
		}
		b.start(int(round))
		b.ready(int(round))
		b.whole(t, s.base) // two of three are needed, the next time too
	}
}

// TestNoLeader: a member agrees to a run while two of three servers are down, and nobody leads the cluster. It is no refusal: it
// gets its frames when the servers are back.
func TestNoLeader(t *testing.T) {
	b := newBrokers(t, 3, nil)
	s := newStation(t, b, linktest.Spec(1024, 512), 8, Config{Storage: jetstream.FileStorage, Replicas: 3})
	b.stop(1)
	b.stop(2)
	c := s.join(s.ctx, "w0", 8<<20, link.Lossless)
	agreed := make(chan []byte, 1)
	go func() {
		_, body, _ := c.conn.Receive(s.ctx)
		agreed <- body
	}()
	until(t, "JetStream was asked in vain", func() bool {
		s.feeder.mu.Lock()
		defer s.feeder.mu.Unlock()
		return s.feeder.nc != nil && s.feeder.nc.Stats().OutMsgs > 0
	})
	b.start(1)
	b.start(2)
	var r link.Ready
	if body := <-agreed; json.Unmarshal(body, &r) != nil || r.Error != "" {
		t.Fatalf("%s", body)
	}
	c.offer(0)
	c.giveBack(c.next(0))
}

// TestPartsLost: pixels that are taken out of the stream before the member has them are asked for again, and come. Where the
// stream has lost all that it had, one question is enough for the frames behind it.
func TestPartsLost(t *testing.T) {
	const count = 12
	for keep, most := range map[uint64]int{3: 2 * count, 0: count / 2} { // 3 parts of one frame stay
		b := newBrokers(t, 1, func(o *server.Options) { o.MaxPayload = 64 << 10 })
		s := newStation(t, b, linktest.Spec(1024, 512), count, Config{})
		c := s.join(t.Context(), "w0", 8<<20, link.Lossless)
		c.agree()
		released := make(chan frames.Release, 64)
		c.serve(released)
		asked := c.questions()
		js, err := jetstream.New(b.connect(t))
		if err != nil {
			t.Fatal(err)
		}
		// Without its consumer the member gets nothing; the stream is emptied, and the consumer is made again when it asks.
		if err := js.DeleteConsumer(t.Context(), names{s.base}.stream(), "w0"); err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(count) {
			c.offer(seq)
		}
		until(t, "the pixels are in the stream", func() bool { return b.stream(t, s.base).Msgs >= 8*count })
		stream, err := js.Stream(t.Context(), names{s.base}.stream())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(t.Context(), jetstream.WithPurgeKeep(keep)); err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(count) {
			c.Release([]link.Offered{c.next(seq)}, frames.Durable)
			c.released(released)
		}
		until(t, "the stream is empty", func() bool { return b.stream(t, s.base).Bytes == 0 })
		if n := asked(); n == 0 || n > most {
			t.Errorf("with %d parts kept the member asked %d times for %d frames", keep, n, count)
		}
	}
}

// TestOrphans: what a member did not fetch goes with its connection, and what an acquire before has left goes when the next
// one opens the stream. Neither fills it.
func TestOrphans(t *testing.T) {
	b := newBrokers(t, 1, nil)
	s := newStation(t, b, linktest.Spec(1024, 512), 8, Config{})
	js, err := jetstream.New(b.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	// Parts of frames that nobody knows.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names{s.base}.stream(), Subjects: []string{names{s.base}.all()}, Retention: jetstream.WorkQueuePolicy,
	}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := js.Publish(t.Context(), names{s.base}.stored("w0"), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	c := s.join(t.Context(), "w0", 8<<20, link.Lossless)
	if r := c.agree(); r.Error != "" {
		t.Fatal(r.Error)
	}
	if n := b.stream(t, s.base).Msgs; n != 0 {
		t.Errorf("%d messages of an earlier acquire are left", n)
	}
	// A member that is gone: its consumer fetches nothing.
	if err := js.DeleteConsumer(t.Context(), names{s.base}.stream(), "w0"); err != nil {
		t.Fatal(err)
	}
	c.offer(0, 1, 2)
	until(t, "the pixels are in the stream", func() bool { return b.stream(t, s.base).Msgs == 3 })
	c.conn.Close()
	if st := b.stream(t, s.base); st.Msgs != 0 {
		t.Errorf("%d messages are left of a member that is gone", st.Msgs)
	}
	if g := s.feeder.budget.Gauge(); g.Used != 0 {
		t.Errorf("%d bytes are still counted for it", g.Used)
	}
}

// TestLatest: members of a latest group get their pixels beside the stream. One that hangs costs the stream nothing.
func TestLatest(t *testing.T) {
	b := newBrokers(t, 1, nil)
	s := newStation(t, b, linktest.Spec(1500, 1024), 16, Config{MaxBytes: 4 << 20})
	w := s.join(t.Context(), "w0", 8<<20, link.Lossless)
	w.agree()
	l := s.join(t.Context(), "a0", 8<<20, link.Latest)
	if r := l.agree(); r.Carrier != link.JetStream || r.Error != "" {
		t.Fatalf("%+v", r)
	}
	l.offer(0)
	held := l.next(0) // and it does nothing with it from here on
	for seq := uint64(1); seq < 12; seq++ {
		w.offer(seq)
		w.giveBack(w.next(seq))
	}
	if g := s.feeder.budget.Gauge(); g.Used != 0 {
		t.Errorf("%d bytes of the stream are in use", g.Used)
	}
	p, err := held.Frame.Pixels()
	if err != nil || !bytes.Equal(p, pixels(0, len(p))) || held.Frame.Intact() != nil {
		t.Error("the frame in the member's hands has changed")
	}
	l.Release([]link.Offered{held}, frames.Absent)
	// The next one is filled anew before it is sent: it comes back without having been seen.
	o := s.source.Put(20, pixels(20, 1500*1024))
	s.source.Reclaim(o)
	if err := l.conn.Send(frames.KindFrames, frames.AppendOffer(nil, o)); err != nil {
		t.Fatal(err)
	}
	var back []frames.Release
	for len(back) < 2 {
		_, body, err := l.conn.Receive(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if back, err = frames.DecodeReleases(back, body); err != nil {
			t.Fatal(err)
		}
	}
	if back[0].Seq != 0 || back[1].Seq != 20 {
		t.Errorf("released %+v", back)
	}
	if len(l.got) > 0 {
		t.Error("a frame that was filled anew was seen")
	}
}

// TestEndIsLast: the run's end comes after the frames before it, however long these wait for room.
func TestEndIsLast(t *testing.T) {
	b := newBrokers(t, 1, nil)
	s := newStation(t, b, linktest.Spec(1024, 512), 8, Config{})
	c := s.join(t.Context(), "w0", 1<<20, link.Lossless) // two frames
	c.agree()
	c.offer(0, 1, 2, 3)
	c.send(frames.KindEnd, link.End{Run: s.source.Slab.Spec().Run, Captured: 4})
	for seq := range uint64(4) {
		c.giveBack(c.next(seq))
	}
	if n := <-c.end; n != 4 {
		t.Errorf("the end came after %d frames", n)
	}
}

// TestPart: what others send is checked.
func TestPart(t *testing.T) {
	p := part{run: frames.NewRunID(), key: key{1 << 60, 4}, index: 3, count: 9, crc: 0xfe12}
	if got, err := parsePart(p.String()); err != nil || got != p {
		t.Errorf("%+v, %v; want %+v", got, err, p)
	}
	id := p.run.String()
	for _, bad := range []string{
		"", id, id + " 1 2 3 4", "x 1 2 0 1 0", id + " -1 2 0 1 0", id + " 1 2 1 1 0", id + " 1 2 1 0 0", id + " 1 2 0 9999999 0",
		id + " 1 2 0 1 123456789", id + " 1 2 0 1 0 0", id + "  1 2 0 1 0",
	} {
		if got, err := parsePart(bad); !errors.Is(err, ErrPart) {
			t.Errorf("%q is %+v, %v", bad, got, err)
		}
	}
}

func FuzzPart(f *testing.F) {
	spec := linktest.Spec(100, 41)
	f.Add((part{run: spec.Run, key: key{5, 2}, index: 1, count: 2}).String(), 2050)
	f.Add(spec.Run.String()+" 0 0 0 0 0", 0)
	f.Fuzz(func(t *testing.T, text string, n int) {
		h, err := parsePart(text)
		if err != nil {
			return
		}
		if again, err := parsePart(h.String()); err != nil || again != h {
			t.Errorf("%q is %+v, and that %+v, %v", text, h, again, err)
		}
		h.run = spec.Run
		p, err := newPool(spec, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.close(); err != nil {
				t.Error(err)
			}
		}()
		_ = p.put(h, make([]byte, min(max(n, 0), 8192))) // must stay within the pool
	})
}
