// Package dispatchtest has scripted consumers for tests of acquire's side: members with a real link, slab and
// presence lock, that release at once, hold, hang, die and join again as a test says.
package dispatchtest
