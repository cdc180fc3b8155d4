package blosc

import "errors"

// ErrCorrupt says that bytes are no chunk that this package writes.
var ErrCorrupt = errors.New("not a blosc chunk of shuffled zstd blocks")

// ErrSize says that an element or a buffer has a size that the format can't have.
var ErrSize = errors.New("size not possible in a blosc chunk")
