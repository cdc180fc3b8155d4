package bus

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Endpoint is the content of the file in which a local run's own broker says how to reach it.
type Endpoint struct {
	V        int    `json:"v"` // 1
	URL      string `json:"url"`
	User     string `json:"user"`
	Password string `json:"password"`
	Camera   string `json:"camera"`
	PID      int    `json:"pid"` // of the broker
	// Session tells this run from every other one: a restarted broker of the same run keeps URL and password.
	Session string    `json:"session"`
	Started time.Time `json:"started"`
}

// ReadEndpoint reads a broker's file. It refuses one that is not a regular file of ours, or that others may
// read, with an error wrapping ErrEndpoint.
func ReadEndpoint(path string) (Endpoint, error) {
	var e Endpoint
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return e, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return e, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return e, fmt.Errorf("%w: %s is not a regular file", ErrEndpoint, path)
	case !ok || int(owner.Uid) != os.Getuid():
		return e, fmt.Errorf("%w: %s belongs to another user", ErrEndpoint, path)
	case info.Mode().Perm()&0o077 != 0:
		return e, fmt.Errorf("%w: %s may be read by others (mode %04o)", ErrEndpoint, path, info.Mode().Perm())
	case info.Size() > MaxRequest:
		return e, fmt.Errorf("%w: %s has %d bytes", ErrEndpoint, path, info.Size())
	}
	if err := json.NewDecoder(f).Decode(&e); err != nil {
		return e, fmt.Errorf("%w: %s: %w", ErrEndpoint, path, err)
	}
	if e.V != 1 || e.URL == "" {
		return e, fmt.Errorf("%w: %s is not of version 1", ErrEndpoint, path)
	}
	return e, nil
}
