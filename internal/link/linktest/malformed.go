package linktest

import (
	"bytes"
	"strings"
	"sync/atomic"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// malformed: nothing that a stranger can say harms a connection, not even one who knows its number.
func malformed(k *kit) {
	stranger := k.process()
	var id atomic.Uint64
	p := pair{up: k.process(), down: k.process()}
	p.listener = k.listen(p.down)
	p.up.Set(func(p frames.Packet) Fate {
		id.Store(p.Conn)
		return arrives
	})
	k.announce("w0")
	p.member = k.dial(p.up, joinOf("w0"))
	p.acquire = k.accept(p.listener)
	k.both(p, 20, nil)

	conn := id.Load()
	good := frames.AppendPacket(nil, frames.Packet{Kind: frames.KindReady, Conn: conn, N: 1 << 40})
	magic, reserved := bytes.Clone(good), bytes.Clone(good)
	magic[0]++
	reserved[6] = 1
	packet := func(p frames.Packet) []byte { return frames.AppendPacket(nil, p) }
	join := func(j link.Join) []byte {
		return packet(frames.Packet{Kind: frames.KindJoin, Conn: conn, Body: mustJSON(j)})
	}
	thief := joinOf("thief")
	thief.V, thief.Conn = link.Version, conn
	crossed := joinOf("w0")
	crossed.V, crossed.Conn = link.Version, conn+1
	huge := joinOf("w0")
	huge.V, huge.Conn, huge.Host = link.Version, conn, strings.Repeat("h", 900_000)
	welcome := joinOf("w0")
	welcome.V, welcome.Conn = link.Version, conn
	data := map[string][]byte{
		"nothing":              nil,
		"short":                good[:31],
		"magic":                magic,
		"reserved bytes":       reserved,
		"far ahead":            good,
		"the last number":      packet(frames.Packet{Kind: frames.KindEnd, Conn: conn, N: ^uint64(0)}),
		"a past number":        packet(frames.Packet{Kind: frames.KindEnd, Conn: conn, N: 1, Body: []byte("again")}),
		"no number":            packet(frames.Packet{Kind: frames.KindEnd, Conn: conn, Body: []byte("none")}),
		"confirms the unsent":  packet(frames.Packet{Kind: frames.KindHeartbeat, Conn: conn, Ack: 1 << 50}),
		"confirms everything":  packet(frames.Packet{Kind: frames.KindHeartbeat, Conn: conn, Ack: ^uint64(0)}),
		"another connection":   packet(frames.Packet{Kind: frames.KindEnd, Conn: conn ^ 1, N: 21}),
		"reset of another":     packet(frames.Packet{Kind: frames.KindReset, Conn: conn ^ 1}),
		"an unknown kind":      packet(frames.Packet{Kind: 200, Conn: conn}),
		"health is cut off":    packet(frames.Packet{Kind: frames.KindHeartbeat, Conn: conn, Body: []byte(`{"busy":0.5,"fra`)}),
		"health is no object":  packet(frames.Packet{Kind: frames.KindHeartbeat, Conn: conn, Body: []byte(`[[[[`)}),
		"health is huge":       packet(frames.Packet{Kind: frames.KindHeartbeat, Conn: conn, Body: []byte(`"` + strings.Repeat("x", 900_000) + `"`)}),
		"join is cut off":      join(welcome)[:60],
		"join in another name": join(thief),
		"join across":          join(crossed),
		"join is huge":         join(huge)[:800_000],
		"join is no object":    packet(frames.Packet{Kind: frames.KindJoin, Conn: conn, Body: []byte("7")}),
		"join without a body":  packet(frames.Packet{Kind: frames.KindJoin, Conn: conn}),
		"welcome":              packet(frames.Packet{Kind: frames.KindWelcome, Conn: conn, Body: []byte(`{"v":2,"refused":"go"}`)}),
	}
	for _, subject := range []string{
		".link.join.writer", ".link.join.analyze", ".link.up.writer.w0", ".link.up.analyze.w0", ".link.down.writer.w0", ".link.up.writer.other", ".link.up.writer.NO", ".link.up.$.w0",
	} {
		for what, b := range data {
			if err := stranger.Publish(k.base+subject, b); err != nil {
				k.Fatalf("%s on %s: %v", what, subject, err)
			}
		}
	}
	// The next number of the connection, under another's name, and as another group: each side has sent 21 messages.
	for _, subject := range []string{".link.up.writer.other", ".link.up.analyze.w0"} {
		k.publish(stranger, subject, frames.Packet{Kind: upKinds[0], Conn: conn, N: 22, Body: []byte("stolen")})
	}
	k.both(p, 200, nil)
	k.never("the connection ended", func() bool { return p.acquire.Err() != nil || p.member.Err() != nil })
	if h := p.acquire.Peer().Health; h != (link.Health{Frames: 7}) {
		k.Errorf("its health is %+v", h)
	}
	if j := p.acquire.Peer().Join; j.Name != "w0" || j.Host != "h" {
		k.Errorf("it joined as %+v", j)
	}

	if err := p.member.Send(frames.KindReady, make([]byte, 1<<20)); err == nil {
		k.Error("a message that no broker carries was taken")
	}
	k.both(p, 10, nil)
}
