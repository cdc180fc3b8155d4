// Package member is what every process that takes frames has beside its work: the connection to the broker, the name
// that no other process of the host has, the membership, the status once a second, and the way out.
package member
