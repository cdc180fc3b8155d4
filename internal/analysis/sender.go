package analysis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/link"
)

const (
	sendTime    = time.Second            // one attempt
	firstDelay  = 10 * time.Millisecond  // before the second attempt, doubled from then on
	longestWait = 500 * time.Millisecond // between attempts
	warnAfter   = 2 * time.Second
)

// combineSubject is where a member answers batches.
func combineSubject(camera, member string) string {
	return bus.LinkPrefix(camera) + "combine." + member
}

// sender takes parcels from the outbox to the combiner, one after the other, each until it is acknowledged.
type sender struct {
	camera, member string
	messenger      Messenger
	local          func(body []byte) []byte // this process's combiner
	box            *outbox
	// release is called with the frames of a parcel that was acknowledged or that can't be.
	release func([]link.Offered)
	log     *slog.Logger
	warn    rate.Sometimes

	// done is called when the combiner knows that nothing more comes.
	done func()

	mu        sync.Mutex // guards what follows
	combiner  string
	moved     chan struct{} // closed when combiner changes
	announced chan struct{} // closed when the present combiner knows the member
}

// address names the combiner from now on, and has the member announced to it. It returns a channel that is
// closed when the combiner has answered.
func (s *sender) address(combiner string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved != nil {
		close(s.moved)
	}
	s.combiner, s.moved, s.announced = combiner, make(chan struct{}), make(chan struct{})
	s.box.introduce()
	return s.announced
}

// run sends until ctx ends, or until the outbox is closed and empty.
func (s *sender) run(ctx context.Context) {
	for {
		p := s.box.take()
		if p == nil {
			if s.box.isClosed() {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-s.box.kick:
			}
			continue
		}
		if !s.deliver(ctx, p) {
			return
		}
		if len(p.offered) > 0 {
			s.release(p.offered)
		}
		s.box.sent(p)
		if p.last {
			s.done()
		}
	}
}

// deliver sends one parcel until it is answered. It reports false when ctx ended.
func (s *sender) deliver(ctx context.Context, p *parcel) bool {
	delay, began := firstDelay, time.Now()
	for {
		s.mu.Lock()
		to, moved, announced := s.combiner, s.moved, s.announced
		s.mu.Unlock()
		answer, err := s.attempt(ctx, to, p.body)
		switch {
		case err == nil && len(answer) > 0 && answer[0] == answerMerged:
			if p.announce {
				s.known(announced)
			}
			return true
		case err == nil && len(answer) > 0 && answer[0] == answerRefused:
			s.log.Error("the combiner refuses partial results", "combiner", to, "error", string(answer[1:]))
			return true
		case err == nil:
			err = ErrNotCombining
		}
		if ctx.Err() != nil {
			return false
		}
		if time.Since(began) > warnAfter { // members are armed in any order: at first it may not be there yet
			s.warn.Do(func() { s.log.Warn("the combiner does not take partial results", "combiner", to, "error", err) })
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-moved:
			delay = firstDelay
		case <-timer.C:
			delay = min(2*delay, longestWait)
		}
		timer.Stop()
	}
}

// known marks the combiner as one that knows the member, unless it is not the combiner any more.
func (s *sender) known(announced chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if announced != s.announced {
		return
	}
	select {
	case <-announced:
	default:
		close(announced)
	}
}

func (s *sender) attempt(ctx context.Context, to string, body []byte) ([]byte, error) {
	if to == s.member {
		return s.local(body), nil
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	answer, err := s.messenger.Request(ctx, combineSubject(s.camera, to), body)
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("combiner %s: %w", to, err)
	}
	return answer, err
}

// present returns the channel of the combiner that was addressed last.
func (s *sender) present() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.announced
}
