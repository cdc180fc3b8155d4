package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// SplitOut splits what the user gave as --out into the writers' root and the store's name, which is empty
// unless the path ends in .zarr.
func SplitOut(out string) (root, store string) {
	clean := filepath.Clean(out)
	if strings.HasSuffix(clean, ".zarr") {
		return filepath.Dir(clean), filepath.Base(clean)
	}
	return clean, ""
}

// checkStoreName refuses a name that is not one visible folder below the root.
func checkStoreName(name string) error {
	switch {
	case strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, "."):
		return fmt.Errorf("%w: %q must be a plain folder name", ErrValue, name)
	case !strings.HasSuffix(name, ".zarr"):
		return fmt.Errorf("%w: %q must end in .zarr", ErrValue, name)
	case len(name) > 200:
		return fmt.Errorf("%w: a store name of %d bytes is longer than 200", ErrValue, len(name))
	}
	return nil
}
