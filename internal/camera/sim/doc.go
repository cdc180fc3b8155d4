// Package sim is a simulated camera: exact patterns at memory speed, an ideal clock, and the faults that real
// cameras have, on request.
//
// # Patterns
//
// seq counts the frames that the camera produces from 0, lost ones included; i = y·width + x is a pixel's index
// in its frame; bits is 8 or 16.
//
//	counter  (seq·131 + i) mod 2^bits
//	hash     each 8-byte little-endian word w of the frame's bytes is
//	         splitmix64(seed ⊕ seq·0x9E3779B97F4A7C15 ⊕ w·0xD1B54A32D192ED03), the last one cut to the frame's end
//	wave     mean·(1 + at·sin(2π·hz·seq/fps) + as·sin(2π(kx·x/width + ky·y/height))), computed in float64,
//	         clipped to [0, 2^bits−1] and rounded to the nearest, halves up
//	noise    100 + Gaussian noise (σ = 10, the sum of two terms cut off at ±50) + a round Gaussian spot in the middle (σ a
//	         twentieth of the shorter side, height 1000 for uint16 and 40 for uint8), rounded to the nearest
//
// splitmix64(z): z += 0x9E3779B97F4A7C15; z = (z ⊕ z≫30)·0xBF58476D1CE4E5B9; z = (z ⊕ z≫27)·0x94D049BB133111EB;
// z ⊕ z≫31 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
//
// Noise is the sum of two tables of Gaussian samples, read from offsets that a hash chooses anew for every 512
// pixels: it has a Gaussian's histogram and no repetition that a compressor finds, and costs two additions
// for eight bytes. It is a function of seed, seq, dtype and the frame's size alone.
//
// # Clock
//
// Frame seq is due seq/fps after the start, and that is its device timestamp: a consumer that is late catches
// up and the clock stays ideal. After a pause the next frame is due at once, so a pause is a gap in the device
// timestamps. A free-running camera keeps the newest frames (ring) for a late consumer and loses the older
// ones: the frame ids jump. With fps=0 a frame's device timestamp is the time of its Grab.
package sim
