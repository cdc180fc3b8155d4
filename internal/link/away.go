package link

import (
	"context"
	"time"
)

// silentBeats is how many heartbeats must fail to come before a member of another host counts as dead to one that asks
// for its name: it was started again, and should not wait for long.
const silentBeats = 3

// vacant refuses a request for the name of a member of another host, c: with taken once that one was heard of since, with
// errBusy while nobody can know. l.mu is held.
func (l *listener) vacant(c *conn, j Join, taken error) error {
	beat := l.cfg.Timing.withDefaults().Heartbeat
	if l.silent(c, silentBeats*beat) {
		delete(l.asked, j.Nonce)
		return nil
	}
	first, before := l.asked[j.Nonce]
	switch {
	case !before:
		if len(l.asked) >= maxMembers {
			clear(l.asked)
		}
		l.asked[j.Nonce] = time.Now()
	case c.Peer().Heard.After(first.Add(2 * beat)): // what a dead process had sent has come by then
		delete(l.asked, j.Nonce)
		return taken
	}
	return errBusy
}

// silent reports whether nothing was heard of a connection for longer than limit, although it could be. l.mu is held.
func (l *listener) silent(c *conn, limit time.Duration) bool {
	heard := c.Peer().Heard
	if l.up.After(heard) {
		heard = l.up
	}
	return time.Since(heard) > limit
}

// watch ends the connections of processes that have died: on this host when their lock is free, elsewhere when they have
// been silent for too long.
func (l *listener) watch(ctx context.Context) {
	tick := time.NewTicker(l.cfg.AlivePeriod)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		l.mu.Lock()
		// Nobody is dead for what this process could not hear, since it was cut off or stood still itself.
		if !l.cfg.Transport.Connected() || now.Sub(last) > l.cfg.AlivePeriod+time.Second {
			l.up = now
		}
		last = now
		var local []*conn
		for _, c := range l.conns {
			switch {
			case c.Err() != nil:
			case !c.away:
				local = append(local, c)
			case l.silent(c, l.cfg.Lost):
				c.fail(ErrPeerDead)
			}
		}
		l.mu.Unlock()
		for _, c := range local {
			if l.cfg.Alive != nil && !l.cfg.Alive(c.join) {
				c.fail(ErrPeerDead)
			}
		}
	}
}
