package spectrum

// TemporalSpectrum is Welch's estimate of the power spectral densities of several series: P. Welch, "The use
// of fast Fourier transform for the estimation of power spectra", IEEE Trans. Audio Electroacoust. 15 (1967).
//
// Segment k is the frames [k·SegmentFrames/2, k·SegmentFrames/2 + SegmentFrames): the segments overlap by
// half and their places do not depend on what is missing. Each has its mean taken off and a periodic Hann
// window; their periodograms are averaged. The figures are those of
//
//	scipy.signal.welch(x, fs, window='hann', nperseg=SegmentFrames, detrend='constant', scaling='density')
//
// A segment counts only when it is whole: all of its frames are there, their device timestamps rise, and no
// interval between two is over 1.5 times the segment's median interval.
//
// Within a segment the frames are taken to be evenly spaced at the mean rate of their device timestamps;
// Jitter says how far that holds. All segments share one frequency axis, that of RateHz.
type TemporalSpectrum struct {
	// SegmentFrames is the frames of a segment, Segments the number of whole ones that the figures are made
	// of, Broken that of those in the same stretch of the series that were left out for a hole.
	SegmentFrames int
	Segments      int
	Broken        int
	// FirstSeq and EndSeq bound the frames of the whole segments: [FirstSeq, EndSeq). FirstNS and LastNS are
	// the device timestamps of the first and the last of them.
	FirstSeq, EndSeq uint64
	FirstNS, LastNS  int64
	// RateHz is the frame rate by the device timestamps, over all whole segments. BinHz is the distance of
	// the frequencies of the PSDs: RateHz / SegmentFrames.
	RateHz, BinHz float64
	// Jitter is the root mean square deviation of the intervals from their segment's mean one, as a part of
	// it. Uneven is set when it is over 0.1: amplitudes and high frequencies are then not to be relied on.
	Jitter float64
	Uneven bool
	// Series are the spectra in the order of Sample.Means; none when there was no whole segment.
	Series []SeriesSpectrum
}

// SeriesSpectrum is the spectrum of one series.
type SeriesSpectrum struct {
	// Mean is the mean of the segments' means, counts.
	Mean float64
	// PSD is the one-sided power spectral density at 0, BinHz, 2·BinHz … RateHz/2, counts²/Hz: its sum times
	// BinHz is the variance of the series.
	PSD []float64
	// Dominant is the strongest oscillation.
	Dominant Tone
}
