package camera

import (
	"context"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Camera is one source of frames. Its methods are called by one goroutine.
type Camera interface {
	// Info describes the camera. It does not change between Start and Close.
	Info() Info
	// Start begins the acquisition: the camera's clock and frame ids run from here.
	Start(ctx context.Context) error
	// Grab waits for the next frame and describes it; its pixels wait in the camera (a driver's buffer, a
	// decoder) until Retrieve, or until the next Grab gives them up. It returns io.EOF after the last frame
	// of a finite source, the context's error, or an error wrapping ErrFailed when the camera is no more.
	Grab(ctx context.Context) (Grabbed, error)
	// Retrieve writes the pixels of the frame grabbed last into dst, which has FrameBytes bytes, decoding on
	// the way where the camera must. It is called at most once for a Grab.
	Retrieve(dst []byte) error
	// Close ends the acquisition and frees the device. It may be called twice.
	Close() error
}

// Pauser is a Camera that can stop producing and go on later (Info.CanPause is set).
type Pauser interface {
	// Pause stops production after the frame grabbed last. No Grab is called until Resume.
	Pause() error
	// Resume goes on. The device timestamps show the pause as a gap, the frame ids don't.
	Resume() error
}

// Seeker is a Camera that can begin at any frame: what a run that goes on after a restart asks for. The pixels and
// frame ids are those that the camera would have come to by itself, its clock begins anew.
type Seeker interface {
	// Seek makes frame n, counted from 0, the first one. It is called before Start.
	Seek(n uint64) error
}

// Checksummer is a Camera that makes a frame's checksum where that costs next to nothing: while it writes the pixels, which
// are at hand in the processor then (crc32c.Copy). Whoever makes it later reads them from memory once more.
type Checksummer interface {
	// RetrieveChecksum is Retrieve, and returns the CRC-32C of the pixels as the camera had them (RFC 3720, appendix B.4), 0 where it has not
	// made it.
	RetrieveChecksum(dst []byte) (uint32, error)
}

// Grabbed describes a frame.
type Grabbed struct {
	// FrameID is the device's own number, as it came: Info.IDBits wide.
	FrameID uint64
	// DeviceNS is the device's timestamp in nanoseconds of Info.Device.Clock.
	DeviceNS int64
	// Arrived is when the host had it: a time.Now, whose monotonic reading is what counts.
	Arrived time.Time
	// Incomplete marks a frame with parts missing: its pixels are not to be used.
	Incomplete bool
}

// Info is what a camera says of itself once it is open.
type Info struct {
	Geometry frames.Geometry
	// FPS is the nominal rate in frames per second, 0 where there is none (as fast as it can).
	FPS    float64
	Device run.Device
	// Frames is the length of a finite source, 0 where unknown or endless.
	Frames uint64
	// CanPause says that the camera is a Pauser. One that cannot pause goes on producing whatever we do.
	CanPause bool
	// IDBits is the width of the device's frame id: 0 (none: Grab counts), 16, 32 or 64.
	// IDSkipsZero says that the number after the largest is 1.
	IDBits      int
	IDSkipsZero bool
	// IDFromStart says that the first frame after Start has id 0 (1 where zero is skipped), so that a first
	// frame with a higher one tells of frames missed before it.
	IDFromStart bool
}
