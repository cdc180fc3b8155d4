package dispatch

import (
	"slices"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// part lets members go that have said so, each once it has nothing in hand. Of a group that holds frames somebody must
// stay; once the camera has ended all stay for the end, which is near. d.mu is held.
func (r *runState) part(now time.Time) {
	if r.ended {
		return
	}
	for _, m := range slices.Clone(r.d.members) {
		if m.gone || m.excused || m.armed != r.spec.Run || !m.conn.Peer().Health.Leaving {
			continue
		}
		if m.stays() {
			m.leaving = now
			r.rehead(m.group)
		}
		if m.failed != "" || r.dispensable(m, now) && r.emptyHanded(m, now) {
			r.excuse(m)
		}
	}
}

// dispensable reports whether a run goes on without a member: others stay, or the group holds nothing up.
func (r *runState) dispensable(m *member, now time.Time) bool {
	return r.d.cfg.Groups[m.group].Policy != link.Lossless ||
		slices.ContainsFunc(r.d.members, func(o *member) bool { return o.stays() && r.d.takes(o, m.group, now) })
}

// emptyHanded reports whether a member has nothing in hand. The shard that is being filled may last for hours where the camera is slow:
// another takes it over after a while, and copies what is durable of it.
func (r *runState) emptyHanded(m *member, now time.Time) bool {
	if m.owned > 0 && now.Sub(m.leaving) >= r.d.cfg.HandOver {
		return r.shards.filling(m)
	}
	return m.outstanding == 0 && m.owned == 0
}

// excuse tells a member that the run goes on without it.
func (r *runState) excuse(m *member) {
	r.groups[m.group].gone(m)
	r.tell(m, frames.KindClosed, link.Closed{Run: r.spec.Run, Left: true})
	m.armed, m.ready, m.excused = frames.RunID{}, false, true
	r.d.change()
}
