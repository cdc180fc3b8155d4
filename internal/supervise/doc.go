// Package supervise keeps child processes alive: each in its own process group, so that a terminal's Ctrl-C
// reaches the supervisor alone; started again when it dies; stopped in order, with a deadline.
//
// Children inherit the reading end of a pipe that nobody writes to. Its end is the sign that the supervisor is
// gone, whatever killed it: [WatchParent] turns it into the end of a context, and the child drains.
package supervise
