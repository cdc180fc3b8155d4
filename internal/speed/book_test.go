package speed

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func getenv(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestPath(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/sluice/speed.json"},
		{map[string]string{"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/sluice/speed.json"},
		{map[string]string{"HOME": "relative"}, ""},
	} {
		if got := Path(getenv(c.env)); got != c.want {
			t.Errorf("%v: %q, want %q", c.env, got, c.want)
		}
	}
}

// TestNoteAndFind: the nearest size counts, a new figure replaces the old one, and hosts, disks and codecs are told apart.
func TestNoteAndFind(t *testing.T) {
	dir := t.TempDir()
	b := Open(filepath.Join(dir, "cache", "speed.json"), "here")
	if f, ok := b.Find(dir, "none", 1000); ok {
		t.Errorf("known without a file: %+v", f)
	}
	for _, n := range []struct {
		codec string
		bytes int
		rate  float64
	}{{"none", 1 << 20, 1e9}, {"none", 1 << 10, 5e8}, {"zstd:1", 1 << 20, 3e8}, {"none", 1 << 20, 2e9}} {
		if err := b.Note(dir, n.codec, n.bytes, n.rate, FromBench); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		codec string
		bytes int
		want  float64
	}{{"none", 1 << 20, 2e9}, {"none", 1 << 30, 2e9}, {"none", 1 << 14, 5e8}, {"none", 1 << 16, 2e9}, {"none", 1, 5e8}, {"zstd:1", 1, 3e8}} {
		f, ok := b.Find(dir, c.codec, c.bytes)
		if !ok || f.BytesPerSecond != c.want || f.From != FromBench || f.FramesPerSecond(1000) != c.want/1000 {
			t.Errorf("%+v: %+v, %v", c, f, ok)
		}
	}
	if f, ok := b.Find(dir, "zstd:3", 1); ok {
		t.Errorf("of another codec: %+v", f)
	}
	if f, ok := b.Find("/proc", "none", 1); ok {
		t.Errorf("of another disk: %+v", f)
	}
	if f, ok := b.Find(filepath.Join(dir, "missing"), "none", 1); ok {
		t.Errorf("of no disk: %+v", f)
	}
	if f, ok := Open(b.path, "elsewhere").Find(dir, "none", 1); ok {
		t.Errorf("of another host: %+v", f)
	}
	if list := b.read(); len(list) != 3 {
		t.Errorf("%+v", list)
	}
}

// TestNothingKnown: what can't be read, is old or makes no sense is as if it were not there, and is written over.
func TestNothingKnown(t *testing.T) {
	dir := t.TempDir()
	b := Open(filepath.Join(dir, "speed.json"), "here")
	disk, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	good := Figure{Host: "here", Disk: disk, Codec: "none", FrameBytes: 8, BytesPerSecond: 1, From: FromRun, Time: time.Now()}
	text := func(v int, change func(*Figure)) string {
		f := good
		change(&f)
		s, err := json.Marshal(book{v, []Figure{f}})
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	if err := os.WriteFile(b.path, []byte(text(1, func(*Figure) {})), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Find(dir, "none", 8); !ok {
		t.Error("a good figure is not found")
	}
	for what, content := range map[string]string{
		"empty": "", "no JSON": "\x00\xff", "a list": "[]", "another version": text(2, func(*Figure) {}),
		"old":             text(1, func(f *Figure) { f.Time = time.Now().Add(-oldest - time.Hour) }),
		"of the future":   text(1, func(f *Figure) { f.Time = time.Now().Add(48 * time.Hour) }),
		"nothing":         text(1, func(f *Figure) { f.BytesPerSecond = 0 }),
		"negative":        text(1, func(f *Figure) { f.BytesPerSecond = -5 }),
		"no frames":       text(1, func(f *Figure) { f.FrameBytes = 0 }),
		"from somewhere":  text(1, func(f *Figure) { f.From = "hearsay" }),
		"beyond a number": strings.Replace(text(1, func(*Figure) {}), `"bytes_per_second":1`, `"bytes_per_second":1e999`, 1),
		"huge":            text(1, func(*Figure) {}) + strings.Repeat(" ", maxBytes),
	} {
		if err := os.WriteFile(b.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, ok := b.Find(dir, "none", 8); ok {
			t.Errorf("%s: %+v", what, f)
		}
		if err := b.Note(dir, "none", 8, 7, FromBench); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if f, ok := b.Find(dir, "none", 8); !ok || f.BytesPerSecond != 7 {
			t.Errorf("%s, then noted: %+v, %v", what, f, ok)
		}
	}
	// A folder in the file's place, and a place that nobody can write to.
	folder := Open(dir, "here")
	if _, ok := folder.Find(dir, "none", 8); ok {
		t.Error("a folder is a book")
	}
	if err := folder.Note(dir, "none", 8, 1, FromBench); err == nil {
		t.Error("a folder was written over")
	}
	if err := Open("/proc/nowhere/speed.json", "here").Note(dir, "none", 8, 1, FromBench); err == nil {
		t.Error("noted in /proc")
	}
	none := Open("", "here")
	if err := none.Note(dir, "none", 8, 1, FromBench); err != nil {
		t.Error(err)
	}
	if _, ok := none.Find(dir, "none", 8); ok {
		t.Error("known without a path")
	}
	if err := b.Note(dir, "none", 8, -1, FromBench); err == nil {
		t.Error("noted a negative speed")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".speed-*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestBounded: the book does not grow without end.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	b := Open(filepath.Join(dir, "speed.json"), "here")
	for i := range most + 10 {
		if err := b.Note(dir, "none", i+1, 1, FromRun); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.read()); n != most {
		t.Errorf("%d figures, want %d", n, most)
	}
	if f, ok := b.Find(dir, "none", most+10); !ok || f.FrameBytes != most+10 {
		t.Errorf("the newest is not there: %+v", f)
	}
}

func TestCodec(t *testing.T) {
	if Codec("none", 0) != "none" || Codec("zstd", 3) != "zstd:3" {
		t.Error(Codec("none", 0), Codec("zstd", 3))
	}
}
