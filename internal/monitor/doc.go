// Package monitor shows a camera's status to a person: a panel that is refreshed in place on a terminal, plain
// lines elsewhere.
package monitor
