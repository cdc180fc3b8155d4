//go:build opencv

package source

import (
	"context"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/file"
	"github.com/sluicedaq/sluice/internal/camera/opencv"
)

func timeouts(o Options) opencv.Timeouts {
	return opencv.Timeouts{Open: o.OpenTimeout, Read: o.ReadTimeout}
}

func openVideo(ctx context.Context, c file.Config, o Options) (camera.Camera, error) {
	return opencv.OpenFile(ctx, opencv.FileConfig{Path: c.Path, Loop: c.Loop, FPS: c.FPS, OwnRate: c.OwnRate}, timeouts(o))
}

func openDevice(ctx context.Context, d device, o Options) (camera.Camera, error) {
	return opencv.OpenDevice(ctx, opencv.DeviceConfig{Path: d.Path, Width: d.Width, Height: d.Height, FPS: d.FPS}, timeouts(o))
}

func openURL(ctx context.Context, url string, o Options) (camera.Camera, error) {
	return opencv.OpenURL(ctx, url, timeouts(o))
}
