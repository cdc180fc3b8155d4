package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/sluicedaq/sluice/internal/refusal"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// FuzzConn feeds a connection a real peer's packets, and between them packets of the fuzzer's that bear its number: what the
// real one says comes once and in order as long as nobody speaks under its packets' numbers, and what is kept stays bounded.
func FuzzConn(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{34, 2, 0, 9, 34, 255, 255, 1, 64, 0, 0, 200, 65, 0, 1, 0})
	f.Add(bytes.Repeat([]byte{35, 40, 0, 255}, 50))
	f.Add(bytes.Repeat([]byte{64, 0, 255, 7, 34, 1, 0, 0}, 30))
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRoom(1 << 20)
		c := newConn(5, ends{transport: discard{}, subject: "s", room: r, book: refusal.New(nil)}, Peer{})
		said, sent, taken := uint64(0), uint64(0), uint64(0)
		for ; len(script) >= 4 && c.Err() == nil; script = script[4:] {
			// A forged packet: never one of the next three numbers, which are the real one's.
			p := frames.Packet{Kind: frames.Kind(script[0]), Conn: 5, N: uint64(script[1])<<(script[2]%60) + uint64(script[2]), Ack: uint64(script[3]) << (script[2] % 64)}
			p.Body = bytes.Repeat([]byte{script[1]}, int(script[3])*64)
			if p.N == 0 || p.N > said+200 || p.N <= said {
				c.handle(p)
			}
			said++
			c.handle(frames.Packet{Kind: frames.KindReleases, Conn: 5, N: said, Ack: sent, Body: binary.LittleEndian.AppendUint64(nil, said)})
			if script[0]%4 == 0 && c.Send(frames.KindFrames, script[:1]) == nil {
				sent++
			}
			if c.lastN != sent || len(c.out) > int(sent) || c.waitingBytes > aheadBytes || c.inBytes > unreadBytes+ownBytes || len(c.waiting) > ahead || r.left.Load() < 0 {
				t.Fatalf("sent %d as %d, %d out, %d bytes wait, %d unread, %d of the room left", sent, c.lastN, len(c.out), c.waitingBytes, c.inBytes, r.left.Load())
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for c.next < len(c.taken) || len(c.in) > 0 {
				kind, body, err := c.Receive(ctx)
				if taken++; err != nil || kind != frames.KindReleases || len(body) != 8 || binary.LittleEndian.Uint64(body) != taken {
					if taken > said-200 { // a forged one that was ahead of its time
						return
					}
					t.Fatalf("received kind %d, %d bytes, %v; want message %d", kind, len(body), err, taken)
				}
			}
		}
		go c.keep()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := r.left.Load(); n != 1<<20 {
			t.Errorf("%d bytes of the room are left", n)
		}
	})
}

// FuzzListener gives a door whatever comes: it never has more members than there is room for, none that is not alive, and
// none that has kept more of itself than it may.
func FuzzListener(f *testing.F) {
	join := func(j Join) []byte {
		body, _ := json.Marshal(j)
		return frames.AppendPacket(nil, frames.Packet{Kind: frames.KindJoin, Conn: j.Conn, Body: body})
	}
	good := join(Join{V: Version, Group: "writer", Name: "w0", PID: 1, Conn: 7})
	f.Add(good, frames.AppendPacket(nil, frames.Packet{Kind: frames.KindReady, Conn: 7, N: 1, Body: []byte(`{}`)}))
	f.Add(join(Join{V: Version, Group: "writer", Name: "w0", PID: 2, Conn: 7}), good)
	f.Add(join(Join{V: Version + 1, Group: "x", Name: "../w0", PID: -1, Conn: 0, Claims: []Claim{{1, 2}}}), []byte("SLU1"))
	f.Fuzz(func(t *testing.T, asked, said []byte) {
		w := &wire{}
		lis, err := Listen(ListenerConfig{
			Transport: w, Base: "b", Groups: []string{"writer"}, Alive: func(j Join) bool { return j.PID == 1 }, Refusals: refusal.New(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer lis.Close()
		l := lis.(*listener)
		for range 2 {
			l.join("b.link.join.writer", asked)
			l.packet("b.link.up.writer.w0", said)
			l.packet("b.link.up.writer.w0", asked)
			l.join("b.link.join.writer", said)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.conns) > 2 {
			t.Errorf("%d members", len(l.conns))
		}
		for id, c := range l.conns {
			j := c.join
			if j.PID != 1 || j.valid() != nil || j.Conn != id || j.V != Version {
				t.Errorf("joined: %+v", j)
			}
		}
	})
}

// FuzzMember gives a member whatever acquire may say: it is a delivery in which everything is in range, or refused.
func FuzzMember(f *testing.F) {
	spec, _ := json.Marshal(Armed{Policy: Latest})
	f.Add(byte(frames.KindArmed), spec)
	f.Add(byte(frames.KindAssign), frames.AppendAssignment(nil, frames.Assignment{Shard: 1 << 62, Epoch: 1}))
	f.Add(byte(frames.KindLosses), frames.AppendLossRecord(nil, frames.LossRecord{Loss: frames.Loss{Seq: 6, Count: 4, Reason: frames.Dropped, Stage: frames.AtAcquire}}))
	f.Add(byte(frames.KindEnd), []byte(`{"captured":18446744073709551615}`))
	f.Add(byte(frames.KindFinish), []byte(`{"summary":{"captured":9223372036854775807}}`))
	f.Add(byte(frames.KindFrames), frames.AppendOffer(nil, frames.Offer{Seq: 3}))
	f.Add(byte(frames.KindClosed), []byte(`{"run":"00000000000000000000000000000000"}`))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		m := NewMember(MemberConfig{Carrier: noCarrier{}, Camera: "cam0", Refusals: refusal.New(nil)})
		defer m.Close()
		m.spec.ShardFrames, m.mapping = 8, noCarrier{}
		d, err := m.open(t.Context(), frames.Kind(kind), body)
		if err != nil {
			return
		}
		switch {
		case d.Armed != nil && (d.Armed.Spec.Camera != "cam0" || d.Armed.Spec.ShardFrames == 0 || d.Armed.Spec.Run.IsZero()):
			t.Errorf("armed %+v", d.Armed)
		case d.End != nil && d.End.Captured > maxSeq, d.Finish != nil && d.Finish.Summary.Captured > maxSeq, len(m.rest) > 0 && len(m.take(t.Context())) > 0:
			t.Errorf("%+v", d)
		}
		for _, a := range d.Assign {
			if a.Epoch == 0 || a.Shard*8 > maxSeq || a.Shard > maxSeq {
				t.Errorf("shard %+v", a)
			}
		}
		for _, l := range d.Losses {
			if l.Valid() != nil || l.Seq/8 != (l.End()-1)/8 {
				t.Errorf("loss %+v", l)
			}
		}
	})
}

// noCarrier has no frames.
type noCarrier struct{}

func (noCarrier) Names() []string                              { return nil }
func (noCarrier) Open(context.Context, Armed) (Mapping, error) { return noCarrier{}, nil }
func (noCarrier) Way() Way                                     { return Way{} }
func (noCarrier) Close() error                                 { return nil }

func (noCarrier) Frames(_ context.Context, offers []frames.Offer, each func(frames.Offer, *frames.Frame, error)) int {
	for _, o := range offers {
		each(o, nil, ErrProtocol)
	}
	return len(offers)
}
