//go:build !opencv

package source

import (
	"context"
	"fmt"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/file"
)

func openVideo(_ context.Context, c file.Config, _ Options) (camera.Camera, error) {
	return nil, needOpenCV(fmt.Sprintf("file %s is neither Y4M, PNG nor TIFF: any other video", c.Path))
}

func openDevice(_ context.Context, d device, _ Options) (camera.Camera, error) {
	return nil, needOpenCV("v4l2:" + d.Path)
}

func openURL(_ context.Context, url string, _ Options) (camera.Camera, error) {
	return nil, needOpenCV(camera.Redact("video:" + url))
}

// needOpenCV is the answer of a build that lacks it.
func needOpenCV(what string) error {
	return fmt.Errorf("%w: %s needs a build with OpenCV: run make build-opencv and use its bin/acquire", camera.ErrSource, what)
}
