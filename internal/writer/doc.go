// Package writer is the writer's process: it takes frames off the link and gives each back when it is durable.
//
// A Writer has at most one run. Each shard that it owns has a goroutine with a queue: a commit takes all that is
// queued, never waits for more, and two commits may be in flight, so that the disk has work while the last one is
// synced. Whatever goes wrong, a frame that is not durable is never released.
package writer
