package store

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
)

// interrupted is the name of the camera's newest store in a folder where its run did not end in order, empty where it
// did or there is none. A store's name begins with the camera's and the time.
func interrupted(fs vfs.FS, dir string, spec run.Spec) (string, error) {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range slices.Backward(entries) {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), spec.Camera+"_") {
			continue
		}
		a, _, err := KnownAttributes(fs, filepath.Join(dir, e.Name()))
		switch {
		case err != nil || a.Camera != spec.Camera: // one that can't be read is no reason to refuse a run
			continue
		case !a.Finished || a.Summary != nil && a.Summary.EndedBy == run.EndedInterrupted:
			return e.Name(), nil
		}
		return "", nil
	}
	return "", nil
}
