package config

import "time"

// The bounds of the budget where the user gives none.
const (
	budgetTime    = 2 * time.Second
	budgetLeast   = 256 << 20
	budgetUnknown = 512 << 20
	budgetSlots   = 8
)

// DefaultBudget is the budget of a run whose frames take slotBytes each at fps frames a second (0 where
// unknown) on a machine with free bytes of memory: two seconds at the nominal rate but at least 256 MiB, or
// 512 MiB where the rate is unknown; at least eight slots; never more than a quarter of the free memory. It
// is a whole number of slots, and less than one where the memory has no room for one.
func DefaultBudget(slotBytes int64, fps float64, free int64) ByteSize {
	want := float64(budgetUnknown)
	if fps > 0 {
		want = max(float64(slotBytes)*fps*budgetTime.Seconds(), budgetLeast)
	}
	want = min(max(want, float64(budgetSlots*slotBytes)), float64(free/4))
	return ByteSize(int64(want) / slotBytes * slotBytes)
}
