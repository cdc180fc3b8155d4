package linktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// joinOf is the request of this process to join the group writer.
func joinOf(name string) link.Join {
	return link.Join{Group: "writer", Name: name, PID: os.Getpid(), Host: "h", Nonce: "nonce-" + name}
}

// lostWelcome: requests and answers that are repeated make one connection.
func lostWelcome(k *kit) {
	down, up := k.process(), k.process()
	l := k.listen(down)
	left := 4
	down.Set(func(p frames.Packet) Fate {
		if p.Kind == frames.KindWelcome && left > 0 {
			left--
			return isLost
		}
		return Fate{Copies: 2}
	})
	up.Set(func(frames.Packet) Fate { return Fate{Copies: 3} })
	k.announce("w0")
	member := k.dial(up, joinOf("w0"))
	acquire := k.accept(l)
	ctx, cancel := context.WithTimeout(k.ctx, 5*timing.Repeat)
	defer cancel()
	if c, err := l.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
		k.Fatalf("a second connection: %v, %v", c, err)
	}
	k.send(member, frames.KindReady, "here")
	k.receive(acquire, frames.KindReady, "here")
	if got, want := acquire.Peer().Join, joinOf("w0"); got.Name != want.Name || got.Nonce != want.Nonce || got.PID != want.PID || got.Group != want.Group {
		k.Errorf("joined as %+v, want %+v", got, want)
	}
	if got := member.Peer().Carrier; got != "test" {
		k.Errorf("the member's carrier is %q", got)
	}
}

// lateJoin: a request that comes again after its connection is over makes no new one.
func lateJoin(k *kit) {
	var mu sync.Mutex
	var requests [][2][]byte
	down, up := k.process(), k.process()
	undo, err := down.Subscribe(k.base+".link.join.writer", func(subject string, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, [2][]byte{[]byte(subject), data})
	})
	if err != nil {
		k.Fatal(err)
	}
	defer undo()
	l := k.listen(down)
	k.announce("w0")
	old := k.dial(up, joinOf("w0"))
	oldAcquire := k.accept(l)
	old.Close()
	member := k.dial(up, joinOf("w0"))
	acquire := k.accept(l)
	k.ends(oldAcquire, link.ErrReplaced)
	var first [2][]byte
	k.until("the first request was overheard", func() bool { // by another goroutine than the one that answered it
		mu.Lock()
		defer mu.Unlock()
		if len(requests) > 0 {
			first = requests[0]
		}
		return len(requests) > 0
	})
	if err := up.Publish(string(first[0]), first[1]); err != nil {
		k.Fatal(err)
	}
	k.both(pair{acquire: acquire, member: member}, 50, nil)
	k.never("an old request ended the connection", func() bool { return acquire.Err() != nil || member.Err() != nil })
}

func refusals(k *kit) {
	up := k.process()
	k.listen(k.process())
	k.announce("w0")
	j := joinOf("w0")
	j.Group = "nosuch"
	_, err := k.dialer(up).Dial(k.ctx, j)
	if !errors.Is(err, link.ErrRefused) || !strings.Contains(err.Error(), `no group "nosuch": the groups are writer, analyze`) {
		k.Errorf("an unknown group: %v", err)
	}
	ctx, cancel := context.WithTimeout(k.ctx, 5*timing.Repeat)
	defer cancel()
	j = joinOf("no.name")
	if _, err := k.dialer(up).Dial(ctx, j); !errors.Is(err, link.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		k.Errorf("a name that can't be one: %v, want ErrNoAnswer", err)
	}

	// A member of another version.
	answers := make(chan frames.Packet, 1)
	undo, err := up.Subscribe(k.base+".link.down.writer.w9", func(_ string, data []byte) {
		if p, err := frames.DecodePacket(data); err == nil && p.Kind == frames.KindWelcome {
			answers <- p
		}
	})
	if err != nil {
		k.Fatal(err)
	}
	defer undo()
	j = joinOf("w9")
	j.V, j.Conn = link.Version+1, 77
	k.publish(up, ".link.join.writer", frames.Packet{Kind: frames.KindJoin, Conn: 77, Body: mustJSON(j)})
	select {
	case p := <-answers:
		if !strings.Contains(string(p.Body), fmt.Sprintf("version %d", link.Version+1)) {
			k.Errorf("another version is answered with %s", p.Body)
		}
	case <-k.ctx.Done():
		k.Error("another version is not answered")
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of the suite's own values
	}
	return b
}

func (k *kit) publish(f *Faults, subject string, p frames.Packet) {
	k.Helper()
	if err := f.Publish(k.base+subject, frames.AppendPacket(nil, p)); err != nil {
		k.Fatal(err)
	}
}

// joinsAgain: the same process makes another connection.
func joinsAgain(k *kit) {
	p := k.pair("w0")
	k.send(p.member, frames.KindReady, "before")
	k.until("the message is in", func() bool { return p.member.Peer().Unconfirmed == 0 })
	p.member.Close()
	again := k.dial(p.up, joinOf("w0"))
	acquire := k.accept(p.listener)
	k.receive(p.acquire, frames.KindReady, "before") // what came in before the end is not lost
	k.ends(p.acquire, link.ErrReplaced)
	k.both(pair{acquire: acquire, member: again}, 20, nil)
}

// oneName: a living member's name is refused, a dead one's given to the next.
func oneName(k *kit) {
	down, up, other := k.process(), k.process(), k.process()
	l := k.listen(down)
	leave := k.announce("w0")
	member := k.dial(up, joinOf("w0"))
	acquire := k.accept(l)
	j := joinOf("w0")
	j.Nonce, j.PID = "another", j.PID+1
	if k.Alive != nil {
		_, err := k.dialer(other).Dial(k.ctx, j)
		if !errors.Is(err, link.ErrRefused) || !strings.Contains(err.Error(), fmt.Sprintf("taken by process %d", os.Getpid())) {
			k.Errorf("a name that is taken: %v", err)
		}
		thief := joinOf("w0") // with all that its status tells, but of another group
		thief.Group, thief.Nonce = "analyze", "another"
		if _, err := k.dialer(other).Dial(k.ctx, thief); !errors.Is(err, link.ErrRefused) || !strings.Contains(err.Error(), "taken by process") {
			k.Errorf("a name that one of another group has: %v", err)
		}
		k.both(pair{acquire: acquire, member: member}, 10, nil)
	}
	// The process dies, and others take its place: one with its number even.
	leave()
	leave = k.announce("w0")
	j.PID = os.Getpid()
	second := k.dial(other, j)
	acquire2 := k.accept(l)
	k.ends(acquire, link.ErrPeerDead)
	k.ends(member, link.ErrReset)
	k.both(pair{acquire: acquire2, member: second}, 10, nil)
	leave()
	if k.Alive != nil { // without a sign of life nobody is let in
		j.Nonce, j.PID = "nobody", j.PID+1
		if _, err := k.dialer(other).Dial(k.ctx, j); !errors.Is(err, link.ErrRefused) || !strings.Contains(err.Error(), "does not hold") {
			k.Errorf("a stranger: %v", err)
		}
	}
	k.announce("w0")
	j.Nonce, j.PID = "a third", os.Getpid()
	k.dial(up, j)
	k.ends(acquire2, link.ErrPeerDead)
}

// deadOrHung: who is silent is not dead; who has let go of its sign of life is.
func deadOrHung(k *kit) {
	if k.Alive == nil {
		return
	}
	down, up := k.process(), k.process()
	l := k.listen(down)
	leave := k.announce("w0")
	k.dial(up, joinOf("w0"))
	acquire := k.accept(l)
	up.Set(func(frames.Packet) Fate { return isLost })
	heard := acquire.Peer().Heard
	k.never("a hung member was declared dead", func() bool { return acquire.Err() != nil })
	k.until("its silence shows", func() bool { return time.Since(acquire.Peer().Heard) > 3*timing.Heartbeat })
	if now := acquire.Peer().Heard; now.Sub(heard) > timing.Heartbeat {
		k.Errorf("heard %s after it fell silent", now.Sub(heard))
	}
	leave()
	k.ends(acquire, link.ErrPeerDead)
	if err := acquire.Send(frames.KindEnd, nil); !errors.Is(err, link.ErrPeerDead) || !link.Dead(err) {
		k.Errorf("to send to the dead: %v", err)
	}
}

// acquireRestarts: a member that knew an acquire before is told to join again.
func acquireRestarts(k *kit) {
	p := k.pair("w0")
	k.send(p.acquire, frames.KindArmed, "last words")
	k.receive(p.member, frames.KindArmed, "last words")
	p.listener.Close()
	k.never("the member gave up while there is no acquire", func() bool { return p.member.Err() != nil })
	l := k.listen(k.process())
	k.ends(p.member, link.ErrReset)
	j := joinOf("w0")
	j.Run, j.Claims = frames.RunID{1}, []link.Claim{{Shard: 3, Epoch: 9}, {Shard: 5, Epoch: 2}}
	member := k.dial(p.up, j)
	acquire := k.accept(l)
	if got := acquire.Peer().Join; got.Run != j.Run || len(got.Claims) != 2 || got.Claims[0] != j.Claims[0] || got.Claims[1] != j.Claims[1] {
		k.Errorf("joined with %+v, want the claims %+v", got, j.Claims)
	}
	k.both(pair{acquire: acquire, member: member}, 10, nil)
}

// closedByAcquire: the member finds out by itself.
func closedByAcquire(k *kit) {
	p := k.pair("w0")
	p.acquire.Close()
	k.ends(p.acquire, link.ErrClosed)
	k.ends(p.member, link.ErrReset)
	again := k.dial(p.up, joinOf("w0"))
	k.both(pair{acquire: k.accept(p.listener), member: again}, 10, nil)
}

// closedEarly: acquire closes a connection whose member has not been told of it yet.
func closedEarly(k *kit) {
	down, up := k.process(), k.process()
	l := k.listen(down)
	var deaf atomic.Bool
	deaf.Store(true)
	down.Set(func(frames.Packet) Fate {
		if deaf.Load() {
			return isLost
		}
		return arrives
	})
	k.announce("w0")
	dialed := make(chan link.Conn, 1)
	go func() {
		c, err := k.dialer(up).Dial(k.ctx, joinOf("w0"))
		if err != nil {
			k.Error(err)
		}
		dialed <- c
	}()
	k.accept(l).Close()
	deaf.Store(false)
	acquire := k.accept(l)
	member := <-dialed
	if member == nil {
		return
	}
	k.Cleanup(func() { member.Close() })
	k.both(pair{acquire: acquire, member: member}, 10, nil)
}

// flood: requests by the thousand neither fill the memory nor keep others out for good.
func flood(k *kit) {
	down, up := k.process(), k.process()
	l := k.listen(down)
	const many = 3000
	for i := range many {
		j := joinOf(fmt.Sprintf("x%d", i%(many/2)))
		j.V, j.Conn, j.Nonce, j.PID = link.Version, uint64(i+1), strconv.Itoa(i), -1
		k.publish(up, ".link.join.writer", frames.Packet{Kind: frames.KindJoin, Conn: j.Conn, Body: mustJSON(j)})
	}
	// The answer to the last request says that all are dealt with.
	j := joinOf("last")
	j.Group = "nosuch"
	if _, err := k.dialer(up).Dial(k.ctx, j); !errors.Is(err, link.ErrRefused) {
		k.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(k.ctx, timing.Repeat)
	defer cancel()
	n := 0
	for c, err := l.Accept(ctx); err == nil; c, err = l.Accept(ctx) {
		n++
		k.Cleanup(func() { c.Close() })
	}
	if n > 256 {
		k.Errorf("%d members were let in", n)
	}
	if k.Alive == nil {
		return
	}
	k.announce("w0")
	member := k.dial(up, joinOf("w0"))
	for {
		if c := k.accept(l); c.Peer().Join.Name == "w0" {
			k.both(pair{acquire: c, member: member}, 10, nil)
			return
		}
	}
}

// closing: from every state, once and twice, everything ends, and says so.
func closing(k *kit) {
	up := k.process()
	ctx, cancel := context.WithTimeout(k.ctx, 3*timing.Repeat)
	_, err := k.dialer(up).Dial(ctx, joinOf("w0"))
	cancel()
	if !errors.Is(err, link.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		k.Errorf("nobody is there: %v, want ErrNoAnswer and the context's", err)
	}

	p := k.pair("w0")
	k.send(p.acquire, frames.KindArmed, "in time")
	k.until("it is in", func() bool { return p.acquire.Peer().Unconfirmed == 0 })
	k.send(p.acquire, frames.KindEvent, strings.Repeat("x", 100)) // perhaps too late
	waiting := make(chan error)
	go func() {
		_, _, err := p.acquire.Receive(k.ctx)
		waiting <- err
	}()
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() { p.member.Close() })
		closers.Go(func() { p.acquire.Close() })
	}
	closers.Wait()
	if err := <-waiting; !errors.Is(err, link.ErrClosed) {
		k.Errorf("who waits is told %v, want ErrClosed", err)
	}
	k.receive(p.member, frames.KindArmed, "in time")
	if err := p.member.Send(frames.KindReady, nil); !errors.Is(err, link.ErrClosed) {
		k.Errorf("send after close: %v, want ErrClosed", err)
	}

	accepting := make(chan error)
	go func() {
		for {
			if _, err := p.listener.Accept(k.ctx); err != nil {
				accepting <- err
				return
			}
		}
	}()
	var dialing atomic.Bool
	dialed := make(chan error)
	ctx, cancel = context.WithCancel(k.ctx)
	k.announce("w1")
	go func() {
		dialing.Store(true)
		c, err := k.dialer(up).Dial(ctx, joinOf("w1"))
		if err == nil {
			c.Close()
		}
		dialed <- err
	}()
	k.until("somebody asks to join", dialing.Load)
	for range 2 {
		closers.Go(func() { p.listener.Close() })
	}
	closers.Wait()
	if err := <-accepting; !errors.Is(err, link.ErrClosed) {
		k.Errorf("who accepts is told %v, want ErrClosed", err)
	}
	cancel()
	if err := <-dialed; err != nil && !errors.Is(err, context.Canceled) {
		k.Errorf("who dials is told %v", err)
	}
	if _, err := p.listener.Accept(k.ctx); !errors.Is(err, link.ErrClosed) {
		k.Errorf("accept after close: %v, want ErrClosed", err)
	}
}
