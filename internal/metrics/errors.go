package metrics

import "errors"

// ErrListen marks an address that can't be listened on.
var ErrListen = errors.New("--metrics")
