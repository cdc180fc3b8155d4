//go:build opencv

package opencv

/*
#cgo pkg-config: opencv4
#cgo CXXFLAGS: -std=c++11
#include <stdlib.h>
#include "capture.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"gocv.io/x/gocv"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Properties of OpenCV's videoio that gocv does not name.
const (
	openTimeoutMS = 53
	readTimeoutMS = 54
)

// capture is an open cv::VideoCapture. One goroutine uses it.
type capture struct{ c *C.sluice_capture }

// openCapture blocks until the source is open or the backend gives up. params are pairs of property and value.
func openCapture(uri string, api gocv.VideoCaptureAPI, params ...int) (*capture, error) {
	u := C.CString(uri)
	defer C.free(unsafe.Pointer(u))
	p := make([]C.int, len(params)+1) // never empty, so that its first element has an address
	for i, v := range params {
		p[i] = C.int(v)
	}
	var why [512]C.char
	c := C.sluice_open(u, C.int(api), &p[0], C.int(len(params)/2), &why[0], C.int(len(why)))
	if c != nil {
		return &capture{c}, nil
	}
	if text := C.GoString(&why[0]); text != "" {
		return nil, fmt.Errorf("OpenCV: %s", strings.Join(strings.Fields(text), " "))
	}
	return nil, fmt.Errorf("OpenCV %s can't open it", gocv.OpenCVVersion())
}

// grab takes in the next frame; false means that there is none, or that the backend has waited long enough.
func (c *capture) grab() bool { return C.sluice_grab(c.c) != 0 }

// retrieve decodes the frame taken in last.
func (c *capture) retrieve(m *gocv.Mat) bool {
	return C.sluice_retrieve(c.c, unsafe.Pointer(m.Ptr())) != 0
}

func (c *capture) get(p gocv.VideoCaptureProperties) float64 {
	return float64(C.sluice_get(c.c, C.int(p)))
}

func (c *capture) close() {
	if c.c != nil {
		C.sluice_close(c.c)
		c.c = nil
	}
}

// grey says whether the stream has no colour, although FFmpeg's frames are delivered as BGR.
func (c *capture) grey() bool {
	// FFmpeg's tag of its pixel format gray: "Y800".
	const y800 = 'Y' | '8'<<8 | '0'<<16 | '0'<<24
	return uint32(int64(c.get(gocv.VideoCaptureCodecPixelFormat))) == y800
}

// geometryOf is the geometry of the frames that look like m.
func geometryOf(m *gocv.Mat, grey bool) (frames.Geometry, error) {
	g := frames.Geometry{Height: m.Rows(), Width: m.Cols(), Channels: m.Channels()}
	if grey {
		g.Channels = 1
	}
	switch m.Type() & 7 { // the depth
	case gocv.MatTypeCV8U:
		g.Dtype = frames.Uint8
	case gocv.MatTypeCV16U:
		g.Dtype = frames.Uint16
	}
	return g, g.Validate()
}

// planes writes m's samples into dst as planes, R, G, B.
func planes(dst []byte, g frames.Geometry, m *gocv.Mat) error {
	grey := C.int(0)
	if g.Channels == 1 {
		grey = 1
	}
	ok := C.sluice_planes(unsafe.Pointer(m.Ptr()), C.int(g.Height), C.int(g.Width), grey, (*C.uint8_t)(unsafe.Pointer(&dst[0])), C.int64_t(len(dst)))
	if ok == 0 {
		return fmt.Errorf("the picture is %dx%d of %d channels now, not %s", m.Cols(), m.Rows(), m.Channels(), g)
	}
	return nil
}
