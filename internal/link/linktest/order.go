package linktest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The numbered kinds of each direction.
var (
	downKinds = []frames.Kind{
		frames.KindArmed, frames.KindAssign, frames.KindFrames, frames.KindLosses,
		frames.KindEvent, frames.KindEnd, frames.KindFinish, frames.KindClosed,
	}
	upKinds = []frames.Kind{
		frames.KindReady, frames.KindReleases, frames.KindSettled, frames.KindSealed, frames.KindFinished, frames.KindFailed,
	}
)

// stream sends n messages one way while it receives them, and checks that they come once and in order.
func (k *kit) stream(from, to link.Conn, kinds []frames.Kind, n int, between func(i int)) {
	body := func(i int) []byte {
		return binary.LittleEndian.AppendUint64(slices.Repeat([]byte{byte(i)}, i%300), uint64(i))
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range n {
			if between != nil {
				between(i)
			}
			if err := from.Send(kinds[i%len(kinds)], body(i)); err != nil {
				k.Errorf("send message %d: %v", i, err)
				return
			}
		}
	})
	for i := range n {
		kind, b, err := to.Receive(k.ctx)
		if err != nil || kind != kinds[i%len(kinds)] || !slices.Equal(b, body(i)) {
			k.Errorf("message %d of %d came as kind %d, %d bytes, %v", i, n, kind, len(b), err)
			break
		}
	}
	sending.Wait()
}

// both streams both ways at once, then checks that nothing is left over.
func (k *kit) both(p pair, n int, between func(i int)) {
	k.Helper()
	var streams sync.WaitGroup
	streams.Go(func() { k.stream(p.acquire, p.member, downKinds, n, between) })
	streams.Go(func() { k.stream(p.member, p.acquire, upKinds, n, nil) })
	streams.Wait()
	k.send(p.acquire, frames.KindEnd, "last")
	k.send(p.member, frames.KindFailed, "last")
	k.receive(p.member, frames.KindEnd, "last")
	k.receive(p.acquire, frames.KindFailed, "last")
	k.until("everything is confirmed", func() bool {
		return p.acquire.Peer().Unconfirmed == 0 && p.member.Peer().Unconfirmed == 0
	})
}

func exactlyOnce(k *kit) {
	p := k.pair("w0")
	for i, f := range []*Faults{p.up, p.down} {
		f.Set(Chances{Seed: uint64(11 + i), Drop: 0.3, Double: 0.3, Delay: 0.3, Most: 40 * time.Millisecond}.Rule())
	}
	k.both(p, 1500, nil)
	if p.acquire.Peer().Repeated == 0 || p.member.Peer().Repeated == 0 {
		k.Error("nothing was repeated: the faults did not work")
	}
}

// ofEachKind drops the first transmission of the first and of the last packet of each kind.
func ofEachKind(k *kit) {
	p := pair{up: k.process(), down: k.process()}
	var mu sync.Mutex
	lost := map[string]bool{}
	once := func(p frames.Packet) Fate {
		mu.Lock()
		defer mu.Unlock()
		name := fmt.Sprint(p.Kind)
		if p.N > 0 {
			name += " " + string(p.Body)
		}
		if strings.HasSuffix(name, "middle") || lost[name] {
			return arrives
		}
		lost[name] = true
		return isLost
	}
	p.up.Set(once)
	p.down.Set(once)
	p.listener = k.listen(p.down)
	k.announce("w0")
	p.member = k.dial(p.up, joinOf("w0"))
	p.acquire = k.accept(p.listener)
	say := func(from, to link.Conn, kinds []frames.Kind) {
		for _, kind := range kinds {
			for _, body := range []string{"first", "middle", "last"} {
				k.send(from, kind, body)
			}
		}
		for _, kind := range kinds {
			for _, body := range []string{"first", "middle", "last"} {
				k.receive(to, kind, body)
			}
		}
	}
	say(p.acquire, p.member, downKinds)
	say(p.member, p.acquire, upKinds)
	k.until("heartbeats come", func() bool { return p.acquire.Peer().Health.Frames == 7 })
	p.listener.Close()
	p.listener = k.listen(p.down)
	k.ends(p.member, link.ErrReset)
	for _, kind := range []frames.Kind{frames.KindHeartbeat, frames.KindReset, frames.KindJoin, frames.KindWelcome} {
		mu.Lock()
		was := lost[fmt.Sprint(kind)]
		mu.Unlock()
		if !was {
			k.Errorf("no packet of kind %d was lost", kind)
		}
	}
}

func lostEnd(k *kit) {
	p := k.pair("w0")
	left := 12
	p.down.Set(func(p frames.Packet) Fate {
		if p.Kind == frames.KindEnd && left > 0 {
			left--
			return isLost
		}
		return arrives
	})
	k.send(p.acquire, frames.KindFrames, "newest")
	k.send(p.acquire, frames.KindEnd, "end")
	k.receive(p.member, frames.KindFrames, "newest")
	k.receive(p.member, frames.KindEnd, "end")
	if n := p.acquire.Peer().Repeated; n < 12 {
		k.Errorf("repeated %d packets, want at least 12", n)
	}
}

// confirmed: a side that only receives confirms too, so that the other has nothing to repeat.
func confirmed(k *kit) {
	p := k.pair("w0")
	k.stream(p.member, p.acquire, upKinds, 300, nil)
	k.until("everything is confirmed", func() bool { return p.member.Peer().Unconfirmed == 0 })
	k.stream(p.acquire, p.member, downKinds, 300, nil)
	k.until("everything is confirmed", func() bool { return p.acquire.Peer().Unconfirmed == 0 })
	if a, m := p.acquire.Peer().Repeated, p.member.Peer().Repeated; k.bubble && a+m > 0 {
		k.Errorf("%d and %d packets were repeated on a transport without faults", a, m)
	}
}

// senderMemory: what is confirmed is forgotten, whether the receiver has asked for it or not.
func senderMemory(k *kit) {
	p := k.pair("w0")
	body := strings.Repeat("x", 1000)
	for range 20 {
		for range 100 {
			k.send(p.acquire, frames.KindFrames, body)
		}
		k.until("everything is confirmed", func() bool { return p.acquire.Peer().Unconfirmed == 0 })
	}
	for range 2000 {
		k.receive(p.member, frames.KindFrames, body)
	}
}

// receiverMemory: what a reader does not ask for stays with the sender, from some MiB on.
func receiverMemory(k *kit) {
	p := k.pair("w0")
	const n = 60
	body := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 500_000) }
	for i := range n {
		k.send(p.member, frames.KindReleases, body(i))
	}
	k.until("some are confirmed", func() bool { return p.member.Peer().Unconfirmed < n })
	k.never("a reader that does not come has more than 20 MB kept for it", func() bool {
		return p.member.Peer().Unconfirmed < n-40
	})
	for i := range n {
		k.receive(p.acquire, frames.KindReleases, body(i))
	}
	k.until("everything is confirmed", func() bool { return p.member.Peer().Unconfirmed == 0 })
}

// cutOff: while its own connection is down, a side declares nobody dead and loses nothing.
func cutOff(k *kit) {
	p := k.pair("w0")
	for _, f := range []*Faults{p.down, p.up} {
		k.both(p, 20, func(i int) {
			if i == 10 {
				f.Cut()
			}
			if i == 19 {
				k.never("the connection ended while it was cut", func() bool {
					return p.acquire.Err() != nil || p.member.Err() != nil
				})
				f.Restore()
			}
		})
	}
}

// restart: messages are sent all the while that nothing carries them.
func restart(k *kit) {
	if k.Restart == nil {
		return
	}
	p := k.pair("w0")
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	var restarts sync.WaitGroup
	k.both(p, 600, func(i int) {
		<-pace.C
		if i == 200 {
			restarts.Go(k.Restart)
		}
	})
	restarts.Wait()
	k.both(p, 600, func(i int) {
		<-pace.C
		if i == 200 {
			restarts.Go(k.Restart)
		}
	})
	restarts.Wait()
	if p.acquire.Err() != nil || p.member.Err() != nil {
		k.Errorf("the connection ended: %v, %v", p.acquire.Err(), p.member.Err())
	}
	if p.acquire.Peer().Repeated == 0 {
		k.Error("nothing was repeated: the restart did not come in between")
	}
}

func slowReceiver(k *kit) {
	slow := k.pair("slow")
	up := k.process()
	k.announce("quick")
	quick := k.dial(up, joinOf("quick"))
	acquire := k.accept(slow.listener)
	for range 2000 {
		k.send(slow.acquire, frames.KindFrames, "unread")
	}
	k.both(pair{acquire: acquire, member: quick}, 500, nil)
	for range 2000 {
		k.receive(slow.member, frames.KindFrames, "unread")
	}
}
