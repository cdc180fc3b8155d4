package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluicedaq/sluice/internal/exit"
)

// closed reports whether err says that a file was closed by us.
func closed(err error) bool { return errors.Is(err, os.ErrClosed) }

// Group is the set of children that share one supervisor: this process.
type Group struct {
	read, write *os.File
}

// NewGroup makes a group without children.
func NewGroup() (*Group, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the supervisor's pipe: %w", err)
	}
	return &Group{read: r, write: w}, nil
}

// Close tells children that still live that the supervisor is gone. It doesn't wait for them.
func (g *Group) Close() error { return errors.Join(g.write.Close(), g.read.Close()) }

// Sibling is the path of a program that lies beside this one.
func Sibling(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", name, err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", exit.Errorf(exit.Usage, "%w: %s must lie beside sluice, but %s is no program", ErrNotThere, name, path)
	}
	return path, nil
}
