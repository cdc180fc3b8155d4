package dispatch

import (
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// advance moves every group on.
func (r *runState) advance(now time.Time) {
	for _, g := range r.groups {
		g.advance(now)
	}
	r.check()
}

// check looks whether the run has drained, and whether a group that it can't do without is beyond hope.
func (r *runState) check() {
	now := time.Now()
	for i, g := range r.d.cfg.Groups {
		if g.vital() && r.created && r.failure != "" && !r.hope(i, now) {
			select {
			case <-r.lostAll:
			default:
				close(r.lostAll)
			}
		}
	}
	if !r.ended {
		return
	}
	r.tellEnd()
	for _, g := range r.groups {
		if !g.quiet() {
			return
		}
	}
	select {
	case <-r.drained:
	default:
		close(r.drained)
	}
}

// tellEnd tells members that the camera's last frame was offered: of a latest group after the newest frame has
// reached it.
func (r *runState) tellEnd() {
	for _, m := range r.d.members {
		if !m.ready || m.ended {
			continue
		}
		if l, ok := r.groups[m.group].(*latest); ok && l.waiting && !l.quiet() {
			continue
		}
		m.ended = true
		r.tell(m, frames.KindEnd, link.End{Run: r.spec.Run, Captured: r.slab.Captured()})
	}
}

// hope reports whether a group has a member that has not failed, or none at all: one that died comes back. Beside members
// that have failed one that died is waited for only so long.
func (r *runState) hope(g int, now time.Time) bool {
	for _, a := range r.away {
		if a.group == g && now.Sub(a.since) < r.d.cfg.JoinTimeout {
			return true
		}
	}
	n := 0
	for _, m := range r.d.members {
		if m.group == g {
			if n++; m.failed == "" {
				return true
			}
		}
	}
	return n == 0
}

// askFinish has the primary writer complete the store, once it is time and there is one.
func (r *runState) askFinish() {
	if r.finish == nil {
		return
	}
	for _, m := range r.d.members {
		if m.group == r.shards.g && m.ready && m.name == r.head[m.group] && r.asked != m {
			r.asked = m
			r.tell(m, frames.KindFinish, r.finish)
		}
	}
}
