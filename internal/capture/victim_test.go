package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/internal/camera/cameratest"
	"github.com/sluicedaq/sluice/internal/camera/source"
	"github.com/sluicedaq/sluice/internal/config"
)

// victimEnv has the victim that the test binary is to be, as JSON.
const victimEnv = "SLUICE_TEST_VICTIM"

// victimSpec is an acquire in a process of its own.
type victimSpec struct {
	setup
	NATS string
	Arm  bool // and not start
	// The source fake: has so many frames, and then this end.
	FakeFrames int
	FakeEnd    cameratest.End
}

// victim runs an acquire until it is killed.
func victim(text string) error {
	var v victimSpec
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nc, err := bus.Connect(ctx, bus.Options{NATS: config.NATS{NATS: v.NATS, ConnectTimeout: 10 * time.Second}, Process: "acquire"})
	if err != nil {
		return err
	}
	a, err := newAcquire(nc, v.setup, func(ctx context.Context, uri string) (camera.Camera, error) {
		if uri == "fake:" {
			return cameratest.NewFake(cameratest.Script{Frames: cameratest.Sequence(v.FakeFrames, 0), End: v.FakeEnd}).Camera(), nil
		}
		return source.Open(ctx, uri, source.Options{})
	})
	if err != nil {
		return err
	}
	go func() {
		if v.Arm {
			_, err = a.Arm(ctx, bus.ArmRequest{})
		} else {
			_, err = a.Start(ctx, bus.RunRequest{})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return a.Run(ctx, nil)
}
