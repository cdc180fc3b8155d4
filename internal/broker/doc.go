// Package broker finds the NATS server of a local `sluice run`: the user's runtime folder, the file in which
// the server says how to reach it, and the lock that tells a live server from what a dead one left behind.
// The server itself is package natsd.
package broker
