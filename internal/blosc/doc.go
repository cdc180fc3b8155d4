// Package blosc writes and reads chunks of the Blosc 1 format, as Zarr's blosc codec has them: the elements' bytes
// shuffled, so that the bytes of a kind lie together, and each block of them compressed with zstd.
//
// A camera's 16-bit pixels gain from that twice. Their high bytes hardly change, so a plane of them shrinks to next
// to nothing; and the noise, which no search for repetitions can shrink, is in a plane of its own, whose entropy
// coding costs one pass over half the bytes.
//
// The format is that of c-blosc 1.21, https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst; where that
// is silent, blosc.c. Of it this package writes byte shuffle or none, zstd, each plane of a block on its own, and chunks that
// are stored as they are; it reads blocks that are not split too.
package blosc
