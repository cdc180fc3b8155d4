package frames_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

func TestRunID(t *testing.T) {
	const text = "00112233445566778899aabbccddeeff"
	id, err := frames.ParseRunID(text)
	if err != nil || id.String() != text || id.Short() != "00112233" || id.IsZero() {
		t.Errorf("%s (%v), short %s", id, err, id.Short())
	}
	if a, b := frames.NewRunID(), frames.NewRunID(); !(frames.RunID{}).IsZero() || a.IsZero() || a == b {
		t.Errorf("new ids are %s and %s", a, b)
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.ToUpper(text), "g" + text[1:], "../" + text[3:]} {
		id, err := frames.ParseRunID(bad)
		if !errors.Is(err, frames.ErrRunID) || !id.IsZero() {
			t.Errorf("%q: id %s, error %v", bad, id, err)
		}
	}
}

func TestRunIDInJSON(t *testing.T) {
	type message struct {
		Run frames.RunID `json:"run,omitzero"`
	}
	id := frames.NewRunID()
	for _, m := range []message{{}, {id}} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back := message{}
		if err := json.Unmarshal(b, &back); err != nil || back != m {
			t.Errorf("%s became %+v (%v)", b, back, err)
		}
	}
	m := message{id}
	if err := json.Unmarshal([]byte(`{"run":"nobody"}`), &m); !errors.Is(err, frames.ErrRunID) || m.Run != id {
		t.Errorf("run is %s after the error %v", m.Run, err)
	}
}

func TestValidCamera(t *testing.T) {
	for _, good := range []string{"a", "0", "cam0", "left_eye-2", strings.Repeat("x", 32)} {
		if err := frames.ValidCamera(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "_a", "-a", "Cam", "cam.0", "cam*", ">", "cam 0", "cam/0", "..", "é", "cam\n", strings.Repeat("x", 33)} {
		if err := frames.ValidCamera(bad); !errors.Is(err, frames.ErrCamera) {
			t.Errorf("%q: error is %v, want ErrCamera", bad, err)
		}
	}
}

func TestDtype(t *testing.T) {
	for d, want := range map[frames.Dtype]struct {
		name string
		size int
		wire uint8
	}{frames.Uint8: {"uint8", 1, 1}, frames.Uint16: {"uint16", 2, 2}} {
		p, err := frames.ParseDtype(want.name)
		if err != nil || p != d || d.String() != want.name || d.Size() != want.size || uint8(d) != want.wire {
			t.Errorf("%s: parsed %s (%v), size %d, number %d", want.name, p, err, d.Size(), d)
		}
	}
	if frames.Dtype(0).Size() != 0 || frames.Dtype(3).String() != "dtype(3)" {
		t.Error("dtypes 0 and 3 are defined")
	}
	for _, bad := range []string{"", "int8", "UINT8", "float32"} {
		if _, err := frames.ParseDtype(bad); !errors.Is(err, frames.ErrGeometry) {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
}

func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		g     frames.Geometry
		text  string
		shape []int
		bytes int
	}{
		{frames.Geometry{Height: 1, Width: 1, Channels: 1, Dtype: frames.Uint8}, "1x1 uint8", []int{1, 1}, 1},
		{frames.Geometry{Height: 3, Width: 5, Channels: 1, Dtype: frames.Uint16}, "5x3 uint16", []int{3, 5}, 30},
		{frames.Geometry{Height: 3, Width: 5, Channels: 3, Dtype: frames.Uint16}, "5x3x3 uint16", []int{3, 3, 5}, 90},
		{frames.Geometry{Height: 1, Width: frames.MaxFrameBytes, Channels: 1, Dtype: frames.Uint8}, "2147479552x1 uint8", []int{1, frames.MaxFrameBytes}, frames.MaxFrameBytes},
	} {
		if err := c.g.Validate(); err != nil {
			t.Error(err)
		}
		if c.g.String() != c.text || !slices.Equal(c.g.Shape(), c.shape) || c.g.FrameBytes() != c.bytes {
			t.Errorf("%q has shape %v and %d bytes; want %q, %v, %d", c.g, c.g.Shape(), c.g.FrameBytes(), c.text, c.shape, c.bytes)
		}
	}
	const huge = int(^uint(0) >> 1)
	for want, g := range map[string]frames.Geometry{
		"height 0":                 {Height: 0, Width: 1, Channels: 1, Dtype: frames.Uint8},
		"height -1":                {Height: -1, Width: 1, Channels: 1, Dtype: frames.Uint8},
		"width 0":                  {Height: 1, Width: 0, Channels: 1, Dtype: frames.Uint8},
		"2 channels":               {Height: 1, Width: 1, Channels: 2, Dtype: frames.Uint8},
		"dtype(0)":                 {Height: 1, Width: 1, Channels: 1},
		"2147479553x1 uint8":       {Height: 1, Width: frames.MaxFrameBytes + 1, Channels: 1, Dtype: frames.Uint8},
		"1073741824x1 uint16":      {Height: 1, Width: 1 << 30, Channels: 1, Dtype: frames.Uint16},
		"is more than 2147479552 ": {Height: huge, Width: huge, Channels: 3, Dtype: frames.Uint16}, // would overflow
	} {
		if err := g.Validate(); !errors.Is(err, frames.ErrGeometry) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want ErrGeometry with %q", err, want)
		}
	}
}

func TestGeometryInJSON(t *testing.T) {
	g := frames.Geometry{Height: 3, Width: 5, Channels: 3, Dtype: frames.Uint16}
	b, err := json.Marshal(g)
	if want := `{"height":3,"width":5,"channels":3,"dtype":"uint16"}`; err != nil || string(b) != want {
		t.Errorf("JSON is %s (%v), want %s", b, err, want)
	}
	var back frames.Geometry
	if err := json.Unmarshal(b, &back); err != nil || back != g {
		t.Errorf("%s became %+v (%v)", b, back, err)
	}
	if _, err := json.Marshal(frames.Geometry{}); !errors.Is(err, frames.ErrGeometry) {
		t.Errorf("error for no dtype is %v", err)
	}
	if err := json.Unmarshal([]byte(`{"dtype":"float32"}`), &back); !errors.Is(err, frames.ErrGeometry) || back != g {
		t.Errorf("geometry is %+v after the error %v", back, err)
	}
}
