package frames

import "fmt"

// MaxFrameBytes bounds one frame: 2 GiB less one page, which every offset in the formats can hold.
const MaxFrameBytes = 1<<31 - 4096

// Geometry is the shape and sample type of every frame of a run. A frame's samples are in C order:
// (Height, Width) where Channels is 1, (Channels, Height, Width) (planar, RGB) where it is 3.
type Geometry struct {
	Height   int   `json:"height"`
	Width    int   `json:"width"`
	Channels int   `json:"channels"`
	Dtype    Dtype `json:"dtype"`
}

// Validate returns an error that wraps [ErrGeometry] and names the offending quantity.
func (g Geometry) Validate() error {
	switch {
	case g.Height < 1:
		return fmt.Errorf("%w: height %d is less than 1", ErrGeometry, g.Height)
	case g.Width < 1:
		return fmt.Errorf("%w: width %d is less than 1", ErrGeometry, g.Width)
	case g.Channels != 1 && g.Channels != 3:
		return fmt.Errorf("%w: %d channels: want 1 or 3", ErrGeometry, g.Channels)
	case g.Dtype.Size() == 0:
		return fmt.Errorf("%w: %s is not a sample type", ErrGeometry, g.Dtype)
	case g.Height > MaxFrameBytes/g.Width/g.Channels/g.Dtype.Size():
		return fmt.Errorf("%w: %s is more than %d bytes a frame", ErrGeometry, g, MaxFrameBytes)
	}
	return nil
}

// FrameBytes is the size of one frame's pixels in bytes.
func (g Geometry) FrameBytes() int { return g.Height * g.Width * g.Channels * g.Dtype.Size() }

// Shape is the shape of one frame as an array: (y, x), or (c, y, x) for colour.
func (g Geometry) Shape() []int {
	if g.Channels == 1 {
		return []int{g.Height, g.Width}
	}
	return []int{g.Channels, g.Height, g.Width}
}

// String is the form "2048x2048 uint16", with "x3" for colour.
func (g Geometry) String() string {
	if g.Channels == 1 {
		return fmt.Sprintf("%dx%d %s", g.Width, g.Height, g.Dtype)
	}
	return fmt.Sprintf("%dx%dx%d %s", g.Width, g.Height, g.Channels, g.Dtype)
}
