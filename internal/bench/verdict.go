package bench

import "fmt"

// Verdict says in a sentence what the measurements of a camera's large frames mean: how many frames a second the machine
// holds, what bounds that, and how long a burst may be. It is empty where they were not measured.
func Verdict(list []Measure, budget int64) string {
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
	bound := "the disk is the limit"
	if disk.Ratio < 0.8 {
		bound = fmt.Sprintf("the disk alone would take %.0f", disk.Limit*1e9/float64(large.geometry().FrameBytes()))
	}
	return fmt.Sprintf("%d×%d %s holds up to %.0f frames/s here, %s; a burst of %d frames at up to %.0f frames/s fits the budget.",
		large.width, large.height, large.dtype, disk.Frames, bound, budget/int64(large.geometry().FrameBytes()), transport.Frames)
}

func transportName(frames string) string { return "transport, frames of " + frames }

func diskName(s scene, analysed bool) string {
	if analysed {
		return "camera to disk, frames of " + s.name + ", with an analyser"
	}
	return "camera to disk, frames of " + s.name
}
