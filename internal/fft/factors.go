package fft

import (
	"math"
	"slices"
)

// smooth says whether n has no prime factor over 13.
func smooth(n int) bool {
	for _, p := range []int{2, 3, 5, 7, 11, 13} {
		for n%p == 0 {
			n /= p
		}
	}
	return n == 1
}

// factors are the radices whose product is n, a smooth number, for which the passes take the least time, the
// largest first.
func factors(n int, costs [17]float64) []int {
	best := map[int]float64{1: 0}
	choice := map[int]int{}
	var cost func(n int) float64
	cost = func(n int) float64 {
		if c, ok := best[n]; ok {
			return c
		}
		least := math.Inf(1)
		for r := len(costs) - 1; r > 1; r-- {
			if costs[r] == 0 || n%r != 0 {
				continue
			}
			if c := costs[r] + cost(n/r); c < least {
				least, choice[n] = c, r
			}
		}
		best[n] = least
		return least
	}
	cost(n)
	var rs []int
	for ; n > 1; n /= choice[n] {
		rs = append(rs, choice[n])
	}
	slices.SortFunc(rs, func(a, b int) int { return b - a })
	return rs
}
