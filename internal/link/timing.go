package link

import "time"

// Timing of a connection. The zero value of each field means its default.
type Timing struct {
	// Heartbeat is how often each side tells its state (1 s).
	Heartbeat time.Duration
	// Repeat is how long a packet waits for its confirmation before it is sent again (200 ms). It doubles
	// up to eight times that while nothing is confirmed.
	Repeat time.Duration
	// Confirm is how long a confirmation may wait for a packet that can carry it (20 ms).
	Confirm time.Duration
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Heartbeat, time.Second)
	set(&t.Repeat, 200*time.Millisecond)
	set(&t.Confirm, 20*time.Millisecond)
	return t
}
