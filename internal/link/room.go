package link

import "sync/atomic"

// room is memory that connections share. A nil room has no end.
type room struct{ left atomic.Int64 }

func newRoom(bytes int) *room {
	r := &room{}
	r.left.Store(int64(bytes))
	return r
}

// take takes n bytes, or reports that they are not there.
func (r *room) take(n int) bool {
	if r != nil && r.left.Add(-int64(n)) < 0 {
		r.left.Add(int64(n))
		return false
	}
	return true
}

// give gives n bytes back.
func (r *room) give(n int) {
	if r != nil {
		r.left.Add(int64(n))
	}
}
