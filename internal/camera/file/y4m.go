package file

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/sluicedaq/sluice/internal/camera"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// The format is that of mjpegtools' yuv4mpeg(5), with FFmpeg's extensions (Cmono16, XCOLORRANGE).
const (
	y4mMagic = "YUV4MPEG2 "
	y4mLine  = 1024 // bytes that a header line may have
)

// y4m is an open Y4M file. at holds where each frame's planes begin.
type y4m struct {
	f       *os.File
	is      about
	at      []int64
	colour  *ycbcr // nil for grey
	payload int64  // bytes of planes in each frame
	planes  []byte // one frame's, for colour
}

var _ clip = (*y4m)(nil)

// openY4M takes over f. It reads every frame's header, so a truncated file is found now.
func openY4M(ctx context.Context, f *os.File, size int64) (_ clip, err error) {
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("%w file: %s: %w", camera.ErrSource, f.Name(), err)
		}
	}()
	line, err := y4mHeader(f, 0)
	if err != nil {
		return nil, err
	}
	v := &y4m{f: f}
	if err := v.parse(strings.Fields(line)[1:]); err != nil {
		return nil, err
	}
	for at := int64(len(line) + 1); at < size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := len(v.at)
		line, err := y4mHeader(f, at)
		if err != nil {
			return nil, fmt.Errorf("header of frame %d: %w", n, err)
		}
		if line != "FRAME" && !strings.HasPrefix(line, "FRAME ") {
			return nil, fmt.Errorf("frame %d begins with %.20q instead of FRAME: the file is damaged", n, line)
		}
		at += int64(len(line) + 1)
		if at+v.payload > size {
			return nil, fmt.Errorf("truncated: frame %d has %d of its %d bytes", n, size-at, v.payload)
		}
		v.at = append(v.at, at)
		at += v.payload
	}
	if len(v.at) == 0 {
		return nil, fmt.Errorf("it has no frame")
	}
	v.is.frames = uint64(len(v.at))
	if v.colour != nil {
		v.planes = make([]byte, v.payload)
	}
	return v, nil
}

// y4mHeader reads one line, without its end.
func y4mHeader(f *os.File, at int64) (string, error) {
	var buf [y4mLine]byte
	// A frame's header is nearly always bare: don't read a kilobyte for it.
	for n := 8; ; n = len(buf) {
		got, err := f.ReadAt(buf[:n], at)
		if i := bytes.IndexByte(buf[:got], '\n'); i >= 0 {
			return string(buf[:i]), nil
		}
		switch {
		case err == io.EOF:
			return "", fmt.Errorf("truncated: a header line has no end")
		case err != nil:
			return "", err
		case n == len(buf):
			return "", fmt.Errorf("a header line is longer than %d bytes", n)
		}
	}
}

// parse reads the parameters of the file's header.
func (v *y4m) parse(params []string) error {
	g := frames.Geometry{Channels: 3, Dtype: frames.Uint8}
	chroma, full := "420", false
	for _, p := range params {
		var err error
		switch value := p[1:]; p[0] {
		case 'W':
			g.Width, err = strconv.Atoi(value)
		case 'H':
			g.Height, err = strconv.Atoi(value)
		case 'F':
			v.is.rate, err = y4mRate(value)
		case 'C':
			chroma = value
		case 'X':
			full = full || value == "COLORRANGE=FULL"
		}
		if err != nil {
			return fmt.Errorf("header parameter %q: %w", p, err)
		}
	}
	v.is.bits = 8
	subX, subY := 1, 1
	switch chroma {
	case "420", "420jpeg", "420mpeg2", "420paldv":
		subX, subY = 2, 2
	case "422":
		subX = 2
	case "444":
	case "mono":
		g.Channels = 1
	case "mono9", "mono10", "mono12", "mono14", "mono16":
		g.Channels, g.Dtype = 1, frames.Uint16
		v.is.bits, _ = strconv.Atoi(chroma[len("mono"):])
	default:
		return fmt.Errorf("colour space C%s can't be read: want C420, C422, C444, Cmono or Cmono9 to Cmono16", chroma)
	}
	if err := g.Validate(); err != nil {
		return err
	}
	v.is.geometry, v.is.model = g, "Y4M file (C"+chroma+")"
	v.payload = int64(g.FrameBytes())
	if g.Channels == 3 {
		v.colour = newYCbCr(g.Width, g.Height, subX, subY, full)
		v.payload = int64(v.colour.bytes())
	}
	return nil
}

// y4mRate reads "30000:1001". "0:0" means that it is unknown.
func y4mRate(s string) (float64, error) {
	n, d, ok := strings.Cut(s, ":")
	num, err1 := strconv.ParseUint(n, 10, 31)
	den, err2 := strconv.ParseUint(d, 10, 31)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("want a rate such as 25:1")
	}
	if num == 0 || den == 0 {
		return 0, nil
	}
	return float64(num) / float64(den), nil
}

func (v *y4m) about() about { return v.is }

func (v *y4m) read(n uint64, dst []byte) error {
	planes := dst
	if v.colour != nil {
		planes = v.planes
	}
	if got, err := v.f.ReadAt(planes, v.at[n]); err != nil {
		return fmt.Errorf("read frame %d of %s, %d of %d bytes: %w", n, v.f.Name(), got, len(planes), err)
	}
	if v.colour != nil {
		v.colour.rgb(dst, planes)
	}
	return nil
}

func (v *y4m) close() error { return v.f.Close() }
