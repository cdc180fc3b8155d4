// Package entropy makes zstd frames whose blocks are entropy-coded literals: frequent bytes get short codes, and nobody
// looks for repetitions. What a sensor's noise can shrink by, it shrinks by that alone, in a fraction of the time that a
// search takes; [Repetitive] tells the other kind of bytes.
//
// The format is RFC 8878, https://www.rfc-editor.org/rfc/rfc8878. Of it this package writes frames without a checksum
// that say their length, and blocks of three kinds: stored as they are, one byte repeated, and literals in four
// Huffman-coded streams with a table of their own and without sequences.
package entropy
