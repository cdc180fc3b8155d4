package link

import "time"

// Peer is what one end knows of the other.
type Peer struct {
	Join    Join   // as it asked; zero for acquire
	Carrier string // "shm"
	Health  Health // of its latest heartbeat
	// Heard is when anything came from it last, on this process's monotonic clock.
	Heard time.Time
	// Unconfirmed counts packets sent to it and not yet confirmed, Repeated those sent more than once.
	Unconfirmed int
	Repeated    uint64
}
