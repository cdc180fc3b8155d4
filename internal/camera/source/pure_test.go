//go:build !opencv

package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/camera"
)

func TestWithoutOpenCV(t *testing.T) {
	avi := filepath.Join(t.TempDir(), "v.avi")
	if err := os.WriteFile(avi, []byte("RIFF....AVI LIST"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"v4l2:/dev/video0", "video:rtsp://user:secret@host/stream", "file:" + avi} {
		_, err := Open(t.Context(), uri, Options{})
		if !errors.Is(err, camera.ErrSource) || !strings.Contains(err.Error(), "make build-opencv") {
			t.Errorf("%s: %v, want what to build", uri, err)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error shows the password or is more than a line: %v", uri, err)
		}
	}
}
