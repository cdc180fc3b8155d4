// Package fft is the two-dimensional discrete Fourier transform of real planes in float32, made for camera
// frames: with x the samples, of rows × cols,
//
//	X[ky,kx] = Σ x[y,x]·exp(−2πi·(ky·y/rows + kx·x/cols))        kx = 0 … cols/2
//
// without a factor in front; the other half follows from X[−ky,−kx] = conj X[ky,kx].
//
// # How
//
// Eight transforms are computed at a time, one in each lane of a vector, so that nothing has to be moved between
// lanes inside a transform. Eight rows are read, converted, freed of their mean, weighed and transposed in one
// go; a row of even length is transformed as half as many complex numbers, whose even and odd samples'
// spectra are separated afterwards (J. W. Cooley, P. A. W. Lewis, P. D. Welch, "The fast Fourier transform
// algorithm: programming considerations in the calculation of sine, cosine and Laplace transforms", J. Sound
// Vib. 12 (1970)). The result goes to strips of eight columns that lie one after the other in memory, where
// they are transformed in place.
//
// A transform of n elements is made of passes by T. G. Stockham's scheme, which leaves the result in order (P. N.
// Swarztrauber, "FFT algorithms for vector computers", Parallel Computing 1 (1984)), with radices from 2 to 16:
// butterflies of straight-line code, generated, as in M. Frigo and S. G. Johnson, "The design and
// implementation of FFTW3", Proc. IEEE 93 (2005). A length with a prime factor over 13 is transformed as a
// convolution (L. Bluestein, "A linear filtering approach to the computation of discrete
// Fourier transform", IEEE Trans. Audio Electroacoust. 18 (1970)), which takes two to three times as long.
//
// The inner loops exist for processors with AVX2 and FMA, chosen at run time, and in Go, for all others. Both
// follow the same plan; their results differ by rounding.
//
// # Precision
//
// The root mean square error is about 2e−7 of the root mean square of X, the largest error 1e−6, at camera sizes.
//
// # Memory
//
// A workspace holds 4 bytes an element, and two buffers for eight rows or columns. A plan holds tables of
// about 16 bytes for each row and column. Neither allocates after it was made.
package fft

//go:generate go run ./gen -dir .
