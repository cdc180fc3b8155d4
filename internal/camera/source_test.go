package camera

import (
	"errors"
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	for _, tt := range []struct{ uri, scheme, path string }{
		{"sim:", "sim", ""},
		{"sim:?width=5&&fps=1%30", "sim", ""},
		{"file:a/b.y4m", "file", "a/b.y4m"},
		{"file:/a b/100%.y4m?loop=true", "file", "/a b/100%.y4m"},
		{"file:what?.y4m?", "file", "what?.y4m"},
		{"v4l2:/dev/video0", "v4l2", "/dev/video0"},
		{"video:rtsp://u:p@h/s?a=b", "video", "rtsp://u:p@h/s?a=b"},
	} {
		s, err := ParseSource(tt.uri)
		if err != nil || s.Scheme != tt.scheme || s.Path != tt.path {
			t.Errorf("%s: %+v, %v", tt.uri, s, err)
		}
	}
}

func TestParseSourceErrors(t *testing.T) {
	for _, tt := range []struct{ uri, text string }{
		{"", "no scheme"},
		{"/dev/video0", "want sim:"},
		{"genicam:x", `unknown scheme "genicam"`},
		{"sim:512", "no path"},
		{"file:", "no path"},
		{"file:?loop=true", "no path"},
		{"video:cam0", "no URL"},
		{"video:", "no URL"},
		{"sim:?width", `"width" has no value`},
		{"sim:?width=", `"width" has no value`},
		{"sim:?width=1&width=2", `"width" stands twice`},
		{"sim:?w%zz=1", "percent"},
		{"sim:?width=%zz", "percent"},
		{"http://user:secret@host/", "unknown scheme"},
		{"//user:secret@host", "unknown scheme"},
	} {
		_, err := ParseSource(tt.uri)
		if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want ErrSource with %q", tt.uri, err, tt.text)
			continue
		}
		if strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: not one line, or shows the password: %v", tt.uri, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"sim:?width=5":                       "sim:?width=5",
		"file:a@b:c":                         "file:a@b:c",
		"video:rtsp://host/a":                "video:rtsp://host/a",
		"video:rtsp://host:554/a?b=c":        "video:rtsp://host:554/a?b=c",
		"video:rtsp://user@host/a":           "video:rtsp://user@host/a",
		"video:rtsp://user:pw@host/a":        "video:rtsp://user:xxxxx@host/a",
		"video:rtsp://:pw@host/a":            "video:rtsp://:xxxxx@host/a",
		"video:rtsp://user:p@w/x:y@host/a":   "video:rtsp://user:xxxxx@host/a",
		"video:rtsp://user:p?w@host/a":       "video:rtsp://user:xxxxx@host/a",
		"video:http://h/a?user=b&password=c": "video:http://h/a?user=b&password=xxxxx",
		"video:http://h/a?Token=c&x=1":       "video:http://h/a?Token=xxxxx&x=1",
		"rtsp://user:pw@host:554/a?b=c":      "rtsp://user:xxxxx@host:554/a?b=c",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%s) = %s, want %s", in, got, want)
		}
	}
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"sim:?width=5&fps=0x1", "file:a?b?c=d", "video:rtsp://u:p@h/?x=%", "v4l2:/dev/video0?fps=5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		s, err := ParseSource(uri)
		if err != nil {
			if !errors.Is(err, ErrSource) {
				t.Fatalf("%v does not wrap ErrSource", err)
			}
			return
		}
		k := s.Keys("width", "fps", "loop")
		if n := k.Int("width", 7, 1, 9); n < 1 || n > 9 {
			t.Fatalf("width %d is out of its range", n)
		}
		if f := k.Float("fps", 1, 0, 2, "fps"); !(f >= 0 && f <= 2) {
			t.Fatalf("fps %g is out of its range", f)
		}
		k.Bool("loop", true)
		if err := k.Err(); err != nil && !errors.Is(err, ErrSource) {
			t.Fatalf("%v does not wrap ErrSource", err)
		}
	})
}
