// Package bench measures what Sluice reaches on a machine, and beside it, in the same run, what the machine can do:
// each measurement is taken in turns with its limit's, so that what else the machine does meets both. What counts is the
// median of the pairs' ratios; absolute figures are medians too.
package bench
