package analysis

import (
	"sync"

	"github.com/sluicedaq/sluice/internal/link"
	"github.com/sluicedaq/sluice/internal/spectrum"
)

// parcelBytes is the size of a batch on the wire, as far as it is not one large record: well below the
// broker's limit.
const parcelBytes = 256 << 10

// parcel is a batch under construction, with the frames to be released once it is acknowledged.
type parcel struct {
	body     []byte
	offered  []link.Offered
	announce bool
	last     bool // it says that nothing more comes
}

// outbox holds the partial results that the combiner has not acknowledged. While one parcel travels the next
// fills up: batches are small when there is little to do and large under load. All methods may be called
// concurrently.
type outbox struct {
	head  Batch // without samples
	limit int64 // bytes
	size  int   // of a record
	kick  chan struct{}

	mu       sync.Mutex // guards what follows
	parcels  []*parcel
	spare    *parcel
	bytes    int64
	dropped  uint64
	announce bool // the combiner is to be told that the member is there
	ended    bool
	done     bool // the combiner is to be told that nothing more comes
	told     bool // it was told
	captured uint64
	closed   bool
}

func newOutbox(head Batch, limit int64) *outbox {
	return &outbox{head: head, limit: limit, size: recordSize(head.Rows, head.Cols), kick: make(chan struct{}, 1)}
}

// add queues a frame's means, and the frame where it is to be released when they are acknowledged. It reports
// false, and takes nothing, when the box is full.
func (o *outbox) add(s spectrum.Sample, f *link.Offered) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+int64(o.size) > o.limit {
		o.dropped++
		return false
	}
	p := o.last()
	p.body = appendSample(p.body, s)
	if f != nil {
		p.offered = append(p.offered, *f)
	}
	o.bytes += int64(o.size)
	o.done = o.ended
	wake(o.kick)
	return true
}

// last is the parcel to be filled. Called with the lock held.
func (o *outbox) last() *parcel {
	if n := len(o.parcels); n > 0 {
		if p := o.parcels[n-1]; len(p.body)+o.size <= parcelBytes {
			return p
		}
	}
	p := o.spare
	o.spare = nil
	if p == nil {
		p = &parcel{}
	}
	p.body = appendBatchHeader(p.body[:0], o.head)
	p.offered = p.offered[:0]
	o.parcels = append(o.parcels, p)
	return p
}

// take removes the next parcel to be sent: an announcement, then samples, then the mark that the member is
// done. It returns nil when there is none.
func (o *outbox) take() *parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.announce:
		o.announce = false
		return &parcel{body: appendBatchHeader(nil, o.head), announce: true}
	case len(o.parcels) > 0:
		p := o.parcels[0]
		o.parcels[0] = nil
		o.parcels = o.parcels[1:]
		return p
	case o.done:
		o.done = false
		head := o.head
		head.Done, head.Captured = true, o.captured
		return &parcel{body: appendBatchHeader(nil, head), last: true}
	}
	return nil
}

// sent is called when a parcel was acknowledged, or given up.
func (o *outbox) sent(p *parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= int64(len(p.body) - batchHeader)
	o.told = o.told || p.last
	o.spare = p
}

// finished says whether the combiner knows everything, and that nothing more comes.
func (o *outbox) finished() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told && !o.done && len(o.parcels) == 0
}

// introduce has the member announced to a new combiner, and its end told again.
func (o *outbox) introduce() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.announce, o.done, o.told = true, o.ended, false
	wake(o.kick)
}

// end has the combiner told, after all samples, that the run has that many frames.
func (o *outbox) end(captured uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended, o.done, o.captured = true, true, captured
	wake(o.kick)
}

// close lets the sender go when it has sent everything.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	wake(o.kick)
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// lost is the number of samples that found no room.
func (o *outbox) lost() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// wake puts a token into a channel of capacity 1 unless one is there.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
