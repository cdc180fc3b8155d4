// Package store keeps one run on disk: a Zarr v3 / OME-Zarr 0.5 group with one shard file per K frames, columns
// of what is known of each frame, and a ledger of the lost ones. docs/format.md describes every byte of it.
//
// A frame that Commit has taken is on the disk, with a journal record that leads back to it. A shard has one
// owner under one epoch; TakeShard is the fence behind which a former owner can harm nothing. What a reader
// finds while the run goes on is always a true prefix of it.
//
// The package knows no NATS and no slab: pixels are memory that a caller lends.
package store
