// Package dispatch decides on acquire's side who gets which frame, and remembers until it is released.
//
// A Dispatcher keeps the members of a camera's groups, from before its first run to after its last. During a run
// it hands each captured frame to every group:
//
//   - a sharded lossless group (writer) by the frame's shard: one owner a shard, under an epoch;
//   - another lossless group by load: each frame to one member;
//   - a latest group the newest frame, to a member that is idle.
//
// A frame's bytes go back to the budget when the last lossless group has released it. What a dead member held is
// offered to others. One mutex guards all of it: the state is small, and every decision is made in one place.
package dispatch
