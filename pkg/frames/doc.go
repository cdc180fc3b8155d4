// Package frames has the words that Sluice's processes share: what a frame is, its geometry and sample
// type, and the binary wire format of the messages that offer frames to consumers and release them.
//
// docs/link.md describes the wire format byte by byte, so that consumers can be written in other languages.
package frames
