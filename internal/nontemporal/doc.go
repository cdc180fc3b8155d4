// Package nontemporal writes past the processor's caches. Memory that nobody reads soon is written so without being read
// before, which ordinary stores do, line by line. Where the processor has no such stores it is ordinary copying.
package nontemporal
