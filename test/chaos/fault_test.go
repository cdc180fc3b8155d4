package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// kind is what a fault does. The table has a line for each.
type kind string

const (
	killWriter   kind = "kill -9 a writer"
	killWriters  kind = "kill -9 all writers"
	killAcquire  kind = "kill -9 acquire"
	killAnalyser kind = "kill -9 an analyser"
	killBroker   kind = "kill -9 the broker"
	brokerAway   kind = "no broker for seconds"
	stopWriter   kind = "stop a writer, not for long"
	hangWriter   kind = "stop a writer until it counts as hung"
	hangWriters  kind = "stop all writers until they count as hung"
	givenUp      kind = "stop a writer, kill -9 acquire, and let the writer wake when others have its shards"
	stopAcquire  kind = "stop acquire, not for long"
	hangAcquire  kind = "stop acquire for seconds"
	stopAnalyser kind = "stop an analyser, not for long"
	hangAnalyser kind = "stop an analyser until its frames are taken from it"
	stopBroker   kind = "stop the broker, not for long"
	hangBroker   kind = "stop the broker for seconds"
	outlast      kind = "stop all writers until the drain is given up"
	killSilent   kind = "kill -9 a writer or acquire while the broker is silent"
	killTwo      kind = "kill -9 two at once"
)

// phase is the progress of a round that a fault waits for.
type phase string

const (
	atTime     phase = "from the begin on"
	atArming   phase = "after acquire is there"
	atCreation phase = "after the store's folder is there"
	atCaptured phase = "frames captured"
	atDurable  phase = "frames durable"
	atDraining phase = "after the end of capture"
	atDrained  phase = "after the drain"
)

// fault is one fault of a round, and when it comes.
type fault struct {
	kind    kind
	victims []string // processes
	length  time.Duration
	// backlog is how long the writers are stopped before, so that there are frames that they have not released.
	backlog time.Duration
	phase   phase
	share   float64 // of the run's frames
	delay   time.Duration
}

func (f fault) String() string {
	s := fmt.Sprintf("%s %q", f.kind, f.victims)
	if f.length > 0 {
		s += fmt.Sprintf(" for %s", f.length)
	}
	if f.backlog > 0 {
		s += fmt.Sprintf(" after a backlog of %s", f.backlog)
	}
	switch f.phase {
	case atCaptured, atDurable:
		return s + fmt.Sprintf(" at %.2f of the %s, %s later", f.share, f.phase, f.delay)
	}
	return s + fmt.Sprintf(" %s %s", f.delay, f.phase)
}

// fault makes a fault that the plan's processes can have.
func (p plan) fault(r *rand.Rand) fault {
	writer := fmt.Sprintf("writer-%d", 1+r.IntN(p.writers))
	between := func(least, most time.Duration) time.Duration {
		return (least + time.Duration(r.Int64N(int64(most-least)))).Round(time.Millisecond)
	}
	kinds := []kind{
		killWriter, killWriter, killWriters, killAcquire, killAcquire, killBroker, brokerAway, stopWriter, hangWriter, hangWriters,
		givenUp, stopAcquire, hangAcquire, stopBroker, hangBroker, killTwo, killTwo, killSilent,
	}
	if p.analysers > 0 {
		kinds = append(kinds, killAnalyser, stopAnalyser, hangAnalyser)
	}
	if p.deadline > 0 {
		kinds = append(kinds, outlast, outlast, outlast)
	}
	f := fault{kind: kinds[r.IntN(len(kinds))], victims: []string{writer}}
	switch f.kind {
	case killWriters, hangWriters, outlast:
		f.victims = p.names("writer", p.writers)
	case killAcquire, stopAcquire, hangAcquire:
		f.victims = []string{"acquire"}
	case killBroker, brokerAway, stopBroker, hangBroker:
		f.victims = []string{"broker"}
	case killAnalyser, stopAnalyser, hangAnalyser:
		f.victims = []string{fmt.Sprintf("analyze-%d", 1+r.IntN(p.analysers))}
	case givenUp:
		f.victims = []string{writer, "acquire"}
	case killSilent:
		f.victims = []string{"broker", []string{writer, "acquire"}[r.IntN(2)]}
	case killTwo:
		all := append(p.names("writer", p.writers), p.names("analyze", p.analysers)...)
		all = append(all, "acquire", "broker")
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		f.victims = all[:2]
	}
	switch f.kind {
	case stopWriter, stopAcquire, stopAnalyser, stopBroker:
		f.length = between(10*time.Millisecond, 600*time.Millisecond)
	case hangWriter, hangWriters, hangAcquire:
		f.length = between(p.hung+200*time.Millisecond, p.hung+2*time.Second)
	case outlast:
		f.length = between(p.deadline+2*time.Second, p.deadline+4*time.Second)
	case hangAnalyser:
		f.length = between(2200*time.Millisecond, 4*time.Second)
	case brokerAway, hangBroker, killSilent:
		f.length = between(500*time.Millisecond, 5*time.Second)
		if f.kind == brokerAway && p.way == ownBroker { // its supervisor starts it again at once
			f.kind = hangBroker
		}
	}
	switch f.kind {
	case killWriter, killWriters, killAcquire, killBroker, killTwo:
		if r.IntN(2) == 0 {
			f.backlog = between(50*time.Millisecond, 500*time.Millisecond)
		}
	}
	phases := []phase{atTime, atArming, atCreation, atCaptured, atCaptured, atCaptured, atCaptured, atDurable, atDraining, atDraining, atDrained}
	f.phase = phases[r.IntN(len(phases))]
	most := 50 * time.Millisecond
	switch f.phase {
	case atTime:
		most = 3 * time.Second
	case atArming:
		most = 400 * time.Millisecond
	case atDraining:
		most = 100 * time.Millisecond
	}
	f.share, f.delay = r.Float64(), between(0, most)
	if f.kind == outlast { // so that there is something to drain
		f.phase, f.delay, f.share = atCaptured, 0, max(0, 1-float64(p.slots)/2/float64(p.frames))
	}
	return f
}

// names are those of a group's processes.
func (p plan) names(group string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", group, i+1))
	}
	return names
}
