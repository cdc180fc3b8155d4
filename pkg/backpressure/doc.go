// Package backpressure bounds memory by bytes and says so while it does.
//
// A [Budget] is a number of bytes that frames, messages or buffers are charged to. Whoever wants to hold bytes
// acquires them first and releases them when the memory is free again, not when it was sent. What does not fit
// waits in order of arrival ([Budget.Acquire]) or is refused at once ([Budget.TryAcquire]): nothing is
// allowed beyond the limit.
//
// A budget has a [State] with hysteresis, and reports each change of it once, in order:
//
//	open ──used > high──▶ throttled ──nothing more fits──▶ full
//	  ▲                       │                              │
//	  └───────────── used ≤ low, nobody waits ───────────────┘
//
// Precisely, after every operation:
//
//   - full: every byte is used, or a caller waits in Acquire, or a request was just refused or displaced
//     other data for want of bytes;
//   - open: none of these, and at most the low watermark is used;
//   - throttled: none of these, the state was open, and more than the high watermark is used;
//   - in all other cases the state stays what it was. Full never becomes throttled: a source that was stopped
//     at full goes on at open.
//
// An operation that crosses both marks makes one change, straight from open to full. A budget that holds
// few units changes often: one of two units is at the low mark of 50 % and therefore open, two are full.
//
// A [Queue] is a first-in, first-out (or newest-first) queue bounded by the bytes of its elements, with a named
// policy for what happens when it is full. It counts with a Budget, so that its gauge, its states and its
// changes are the same.
package backpressure
