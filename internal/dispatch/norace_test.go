//go:build !race

package dispatch

// mostAllocations bounds what a frame may allocate on its way to a writer and to a copy, and back.
const mostAllocations = 0.5
