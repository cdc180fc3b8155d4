//go:build race

package dispatch

// mostAllocations is more under the race detector, which has pools forget what they are given at random; one for each frame
// is more still.
const mostAllocations = 0.9
