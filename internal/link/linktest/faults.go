package linktest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// ErrCut is what a Faults transport returns while it is cut.
var ErrCut = errors.New("the connection is cut")

// Fate is what becomes of one datagram.
type Fate struct {
	// Copies that arrive: 0 is a loss, 2 a double.
	Copies int
	// Delay of the first copy; each further one comes that much later again. Others overtake it meanwhile.
	Delay time.Duration
}

// The plain fates.
var (
	arrives = Fate{Copies: 1}
	isLost  = Fate{}
)

// Rule decides on the fate of a datagram that goes out; p is zero for one that is no packet.
type Rule func(p frames.Packet) Fate

// Chances is a rule that leaves it to chance.
type Chances struct {
	Seed uint64
	// Drop, Double and Delay are probabilities.
	Drop, Double, Delay float64
	// Most is the longest delay.
	Most time.Duration
}

// Rule returns the rule.
func (c Chances) Rule() Rule {
	rnd := rand.New(rand.NewPCG(c.Seed, 0))
	return func(frames.Packet) Fate {
		f := arrives
		if rnd.Float64() < c.Drop {
			f.Copies = 0
		}
		if rnd.Float64() < c.Double {
			f.Copies *= 2
		}
		if rnd.Float64() < c.Delay {
			f.Delay = time.Duration(rnd.Int64N(int64(c.Most)))
		}
		return f
	}
}

// Faults is a Transport of one process that treats what the process sends by a rule, and that can be cut.
type Faults struct {
	transport link.Transport

	mu    sync.Mutex // guards what follows; rules are called with it
	rule  Rule
	cut   bool
	late  map[*time.Timer]bool
	over  bool
	sends sync.WaitGroup
}

var _ link.Transport = (*Faults)(nil)

// NewFaults wraps a transport. Without a rule everything arrives. Close it.
func NewFaults(t link.Transport) *Faults {
	return &Faults{transport: t, late: map[*time.Timer]bool{}}
}

// Set puts a rule in the place of the one before; nil lets everything arrive.
func (f *Faults) Set(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule = r
}

// Cut takes the connection away: nothing goes out or comes in until Restore.
func (f *Faults) Cut() { f.setCut(true) }

// Restore brings the connection back.
func (f *Faults) Restore() { f.setCut(false) }

func (f *Faults) setCut(cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
}

func (f *Faults) isCut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

// Connected implements link.Transport.
func (f *Faults) Connected() bool { return !f.isCut() && f.transport.Connected() }

// Subscribe implements link.Transport.
func (f *Faults) Subscribe(subject string, g func(string, []byte)) (func(), error) {
	return f.transport.Subscribe(subject, func(subject string, data []byte) {
		if !f.isCut() {
			g(subject, data)
		}
	})
}

// Publish implements link.Transport.
func (f *Faults) Publish(subject string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut || f.over {
		return ErrCut
	}
	fate := arrives
	if f.rule != nil {
		p, _ := frames.DecodePacket(data) // zero where it is none
		fate = f.rule(p)
	}
	for n := range fate.Copies {
		if fate.Delay == 0 {
			if err := f.transport.Publish(subject, data); err != nil {
				return err
			}
			continue
		}
		f.sendLater(subject, slices.Clone(data), time.Duration(n+1)*fate.Delay)
	}
	return nil
}

// sendLater publishes after a delay. f.mu is held.
func (f *Faults) sendLater(subject string, data []byte, delay time.Duration) {
	f.sends.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(delay, func() {
		defer f.sends.Done()
		f.mu.Lock()
		delete(f.late, timer)
		lost := f.cut
		f.mu.Unlock()
		if !lost {
			_ = f.transport.Publish(subject, data) // a datagram
		}
	})
	f.late[timer] = true
}

// Close drops what is still on its way, and everything from here on.
func (f *Faults) Close() {
	f.mu.Lock()
	f.over = true
	for timer := range f.late {
		if timer.Stop() {
			f.sends.Done()
		}
	}
	f.late = nil
	f.mu.Unlock()
	f.sends.Wait()
}
