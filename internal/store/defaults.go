package store

// DefaultDepth is how many writes are in flight where nobody says otherwise.
const DefaultDepth = 8

// Bounds of the default K.
const (
	maxShardBytes        = 512 << 20
	maxDefaultK   uint64 = 4096
)

// DefaultShardFrames is K where the user names none: 512 MiB a shard, at most twice the budget's share of a
// writer (with one large shard at a time several writers would not work in parallel), at most 4096 frames and at
// least one. frameBytes and budget are in bytes.
func DefaultShardFrames(frameBytes int, budget int64, writers int) uint64 {
	bytes := min(maxShardBytes, 2*budget/int64(max(writers, 1)))
	return max(1, min(uint64(max(bytes, 0))/uint64(max(frameBytes, 1)), maxDefaultK))
}
