package shm

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/slab"
)

// Present are the names of the camera's members that live on this host, joined or not: those whose locks are held.
func Present(dir, camera string) []string {
	paths, err := filepath.Glob(presencePath(dir, camera, "*"))
	if err != nil {
		return nil
	}
	var names []string
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		held, err := slab.Locked(f)
		f.Close()
		if err == nil && held {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), camera+"."), ".member"))
		}
	}
	return names
}
