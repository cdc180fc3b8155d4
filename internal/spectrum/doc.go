// Package spectrum turns frames into spectra: the spatial one of a frame, the temporal ones of the means of
// all frames and of a grid of tiles, and a small preview image. It has no I/O and starts no goroutine.
//
// # Colour
//
// A colour frame is analysed as the mean of its planes: its spectra are those of (R + G + B) / 3. That is
// linear in the samples, so that units stay counts and Parseval's identity holds; no weighting of the eye's
// is applied. Only the preview shows colours.
//
// # Precision
//
// The spatial spectrum is computed in float32, by package fft, and summed up in float64. The mean is subtracted
// before the transform, so that rounding is relative to the frame's contrast and not to its brightness. Series
// are float64.
//
// # Memory
//
// Every buffer is made with its owner and counted by the owner's Bytes method. Work on a frame allocates
// nothing; results are allocated, a few times a second.
package spectrum
