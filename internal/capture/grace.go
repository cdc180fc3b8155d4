package capture

import (
	"context"
	"slices"
	"time"
)

// gracePoll is how often members are looked for.
const gracePoll = 10 * time.Millisecond

// awaitMembers waits until all members that are present have joined, but at most for limit. Where none is present,
// or present is nil, it cannot tell and waits for limit. The error is the context's cause.
func awaitMembers(ctx context.Context, limit time.Duration, present, joined func() []string) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(gracePoll)
	defer tick.Stop()
	for {
		if present != nil {
			names, there := present(), joined()
			if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(there, n) }) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-end.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
