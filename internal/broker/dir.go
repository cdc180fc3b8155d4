package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Dir is the folder of this user's runtime files, made with mode 0700 where it is missing:
// $XDG_RUNTIME_DIR/sluice, or /tmp/sluice-UID where that variable names no folder. One that belongs to
// somebody else, that is a link or that others may enter is refused with an error wrapping ErrRuntimeDir.
func Dir(getenv func(string) string) (string, error) { return dir(getenv, "/tmp") }

// dir is Dir with another folder for the fallback.
func dir(getenv func(string) string, tmp string) (string, error) {
	path := filepath.Join(tmp, "sluice-"+strconv.Itoa(os.Getuid()))
	if x := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(x) {
		if info, err := os.Stat(x); err == nil && info.IsDir() {
			path = filepath.Join(x, "sluice")
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("%w: %w", ErrRuntimeDir, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRuntimeDir, err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return "", fmt.Errorf("%w: %s is not a folder", ErrRuntimeDir, path)
	case !ok || int(owner.Uid) != os.Getuid():
		return "", fmt.Errorf("%w: %s belongs to another user", ErrRuntimeDir, path)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%w: others may enter %s (mode %04o, want 0700)", ErrRuntimeDir, path, info.Mode().Perm())
	}
	return path, nil
}
