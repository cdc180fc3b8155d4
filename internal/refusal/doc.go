// Package refusal counts what a process did not take from its peers, and says so at a bounded rate: whoever sends it
// decides how much of it there is, and must not decide how long the logs get.
package refusal
