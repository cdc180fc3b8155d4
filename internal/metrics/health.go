package metrics

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
)

const (
	// late is the age of a status of which a process that works has one each second.
	late = 10 * time.Second
	// stuck is how long a disk may take to confirm anything while a writer waits for it.
	stuck = 30 * time.Second
)

// Health is the answer to GET /healthz, with status 200 where OK, else 503.
type Health struct {
	OK bool `json:"ok"`
	// Reason is why not.
	Reason string `json:"reason,omitempty"`
	// Process is whose health it is: acquire, or the member's name; of several that of one that is not well, if any is.
	Process string `json:"process,omitempty"`
	// StatusAgeSeconds is how old the newest status is of which this was made.
	StatusAgeSeconds float64 `json:"status_age_seconds"`
	// State is a camera's, Joined a member's: whether acquire has it.
	State  bus.State `json:"state,omitempty"`
	Joined *bool     `json:"joined,omitempty"`
	// SyncAgeSeconds is when the disk confirmed something to a writer last.
	SyncAgeSeconds *float64 `json:"sync_age_seconds,omitempty"`
}

// health answers for the process whose board it is: for acquire where it tells of itself, else for the members there are.
func (b *Board) health(w http.ResponseWriter, _ *http.Request) {
	h := b.healthAt(time.Now())
	w.Header().Set("Content-Type", "application/json")
	if !h.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(h) // who hung up gets no answer
}

func (b *Board) healthAt(now time.Time) Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := Health{Reason: "no status yet"}
	if b.ails != nil {
		if why := b.ails(); why != "" {
			return Health{Reason: why}
		}
	}
	if c := b.acquire; c != nil {
		h = Health{Process: acquire, State: c.State, StatusAgeSeconds: now.Sub(c.at).Seconds()}
		switch {
		case now.Sub(c.at) > late:
			h.Reason = "the status is old"
		case c.State == bus.StateFault:
			h.Reason = "fault: " + c.Reason
		}
		h.OK = h.Reason == ""
		return h
	}
	for _, m := range b.members {
		joined := m.Joined
		h = Health{Process: m.Process, Joined: &joined, StatusAgeSeconds: now.Sub(m.at).Seconds()}
		if m.LastSync != nil {
			age := now.Sub(*m.LastSync).Seconds()
			h.SyncAgeSeconds = &age
		}
		switch {
		case now.Sub(m.at) > late:
			h.Reason = "the status is old"
		case !joined:
			h.Reason = "acquire does not have it as a member"
		case m.Writer != nil && m.Blocked > 0.9 && (m.LastSync == nil || now.Sub(*m.LastSync) > stuck):
			h.Reason = "the disk does not answer"
		}
		h.OK = h.Reason == ""
		if !h.OK {
			return h
		}
	}
	return h
}
