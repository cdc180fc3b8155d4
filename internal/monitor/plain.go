package monitor

import (
	"slices"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// The most that one line and one word of a status take, in bytes.
const (
	maxLine = 4096
	maxWord = 300
)

// plainStatus is a status whose words do nothing to the terminal that shows them: whoever can answer a request can put
// anything into them.
func plainStatus(s bus.Status) bus.Status {
	word := func(w string) string { return refusal.Clip(w, maxWord) }
	s.Camera, s.State, s.Reason = word(s.Camera), bus.State(word(string(s.State))), refusal.Clip(s.Reason, maxLine)
	s.Budget.State, s.Budget.Holder = bus.BudgetState(word(string(s.Budget.State))), word(s.Budget.Holder)
	reasons := map[string]uint64{}
	for k, n := range s.LostByReason {
		reasons[word(k)] += n
	}
	s.LostByReason = reasons
	s.Members = slices.Clone(s.Members)
	for i := range s.Members {
		m := &s.Members[i]
		m.Name, m.State = word(m.Name), word(m.State)
		if m.Writer != nil {
			w := *m.Writer
			w.Fallback = word(w.Fallback)
			m.Writer = &w
		}
	}
	if s.LastRun != nil {
		l := *s.LastRun
		l.EndedBy, l.Store = word(l.EndedBy), refusal.Clip(l.Store, maxLine)
		s.LastRun = &l
	}
	return s
}
