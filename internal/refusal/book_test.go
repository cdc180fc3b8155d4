package refusal

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

func TestNoteLogsOncePerSecondAndKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := New(slog.New(slog.NewJSONHandler(&out, nil)))
		for range 500 {
			b.Note(Join, errors.New("no"), "name", "x")
			b.Note(Packet, errors.New("no"))
		}
		<-time.After(time.Second)
		b.Note(Join, errors.New("\x1b[2Jno\nno"))
		b.Count(Stale, 7)
		if c := b.Counts(); len(c) != 3 || c[Join] != 501 || c[Packet] != 500 || c[Stale] != 7 {
			t.Errorf("counts %v", c)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines: %q", len(lines), lines)
		}
		var last struct {
			Msg, Kind, Error string
			Suppressed       uint64
		}
		if err := json.Unmarshal([]byte(lines[2]), &last); err != nil {
			t.Fatal(err)
		}
		if last.Msg != "refused" || last.Kind != "join" || last.Suppressed != 499 || last.Error != " [2Jno no" {
			t.Errorf("%+v", last)
		}
	})
}

func TestNilAndConcurrent(t *testing.T) {
	var none *Book
	none.Note(Join, errors.New("no"))
	none.Count(Stale, 1)
	if none.Counts() != nil || New(nil).Counts() != nil {
		t.Error("an empty book has counts")
	}
	b := New(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				b.Note(Request, errors.New("no"))
			}
		})
	}
	wg.Wait()
	if n := b.Counts()[Request]; n != 8000 {
		t.Errorf("%d counted", n)
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "äöü€": "äö…", "a\x00b\x1b": "a b ", "\u009b2J": " 2J", "a\u202eb": "a b", "\xff\xfe": "  ", "": "",
	} {
		if got := Clip(in, 5); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("a\x1b[31m\u202e€", 3)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(0, most%1000)
		got := Clip(s, most)
		if len(got) > 3*most+len("…") {
			t.Errorf("%d bytes of at most %d", len(got), most)
		}
		for _, r := range got {
			if unicode.IsControl(r) {
				t.Errorf("%q has %q", got, r)
			}
		}
	})
}
