package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// clip is a finite sequence of frames that was checked when it was opened.
type clip interface {
	about() about
	// read writes the pixels of frame n into dst, which has the bytes of one frame.
	read(n uint64, dst []byte) error
	close() error
}

type about struct {
	geometry frames.Geometry
	frames   uint64  // at least 1
	rate     float64 // frames per second, 0 where there is none
	bits     int     // that are significant
	model    string
}

// openClip chooses by what the file begins with, not by its name.
func openClip(ctx context.Context, path string) (clip, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w file: %s: no such file or folder on acquire's host: want a Y4M, PNG or TIFF file, or a folder of images", camera.ErrSource, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w file: %w", camera.ErrSource, err)
	}
	switch {
	case st.IsDir():
		return openFolder(ctx, path)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%w file: %s is neither a file nor a folder", camera.ErrSource, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w file: %w", camera.ErrSource, err)
	}
	var magic [10]byte
	n, err := io.ReadFull(f, magic[:])
	if err != nil && n == 0 {
		f.Close()
		return nil, fmt.Errorf("%w file: %s is empty or unreadable: %w", camera.ErrSource, path, err)
	}
	if string(magic[:n]) == y4mMagic {
		return openY4M(ctx, f, st.Size())
	}
	f.Close()
	if kindOf(magic[:n]) == unknownImage {
		return nil, fmt.Errorf("%w file: %s: %w is neither Y4M, PNG nor TIFF", camera.ErrSource, path, ErrFormat)
	}
	return openImages(ctx, path)
}
