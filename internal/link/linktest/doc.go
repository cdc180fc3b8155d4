// Package linktest is the conformance suite of the link: what every carrier must pass, over a transport that
// drops, doubles, delays and reorders every kind of packet.
package linktest
