package bench

import (
	"fmt"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/slab"
)

// From these parts on a limit counts as reached.
const (
	nearLimit = 0.9
	nearBusy  = 0.85 // of the processors: something else always runs
)

// Verdict says in a sentence what the measurements of a camera's large frames mean: how many frames a second the machine
// holds, what bounds that, and how long a burst may be. It is empty where they were not measured.
func Verdict(list []Measure, budget int64, cores int) string {
	var disk, transport *Measure
	for i := range list {
		switch list[i].Name {
		case diskName(large, false):
			disk = &list[i]
		case transportName(large.name):
			transport = &list[i]
		}
	}
	if disk == nil || transport == nil {
		return ""
	}
	slots := budget / int64(slab.Stride(large.geometry().FrameBytes()))
	// What comes at twice the rate fills the budget at the rate itself: when it is full, twice the slots have been filled.
	return fmt.Sprintf("%d×%d %s holds up to %.0f frames/s here, %s; a burst of %d frames fits the budget of %s at any rate, one of %d at %.0f frames/s.",
		large.width, large.height, large.dtype, disk.Frames, bound(disk, transport, cores),
		slots, config.ByteSize(budget), 2*slots, 2*disk.Frames)
}

// bound says what bounds the way to the disk.
func bound(disk, transport *Measure, cores int) string {
	alone := fmt.Sprintf("the disk alone would take %.0f", disk.Limit*gb/float64(disk.FrameBytes))
	switch {
	case disk.Ratio >= nearLimit || disk.Other != nil && disk.Other.Ratio >= nearLimit:
		return "the disk is the limit"
	case disk.CPU != nil && disk.CPU.Total()*disk.Achieved >= nearBusy*float64(cores):
		return "the processors are the limit, " + alone
	case disk.Frames >= nearLimit*transport.Frames:
		return "the way through the memory is the limit, " + alone
	}
	return alone
}
