package soak_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJudge holds the rule against figures that are flat, that warm up, that have a short excursion, and that leak.
func TestJudge(t *testing.T) {
	t.Parallel()
	const minutes = 20
	for _, c := range []struct {
		name string
		of   figure
		at   func(minute float64) float64
		flat bool
	}{
		{"constant", openFiles, func(float64) float64 { return 20 }, true},
		{"warm-up", anonymous, func(m float64) float64 { return mib * min(10*m, 30) }, true},
		{"excursion", slabUsed, func(m float64) float64 {
			if m > 18 && m < 19 {
				return 128 * mib
			}
			return 4 * mib
		}, true},
		{"falls", threads, func(m float64) float64 { return 100 - m }, true},
		{"a file a minute", openFiles, func(m float64) float64 { return 20 + m }, false},
		{"a goroutine every half minute", goroutines, func(m float64) float64 { return 30 + 2*m }, false},
		{"a mebibyte a minute", anonymous, func(m float64) float64 { return mib * (30 + m) }, false},
		{"ever more work", cores, func(m float64) float64 { return 0.1 + 0.02*m }, false},
	} {
		col := column{"p", c.of}
		var csv bytes.Buffer
		tab, err := newTable(&csv, []column{col})
		if err != nil {
			t.Fatal(err)
		}
		for s := range minutes * 60 {
			values := map[column]float64{col: c.at(float64(s) / 60)}
			if s%7 == 0 {
				delete(values, col) // a second in which nobody answered
			}
			if err := tab.add(time.Duration(s)*time.Second, values); err != nil {
				t.Fatal(err)
			}
		}
		all := tab.judge(5 * time.Minute)
		if len(all) != 1 || all[0].flat != c.flat {
			t.Errorf("%s: %+v", c.name, all)
		}
		if n := strings.Count(csv.String(), "\n"); n != minutes*60+1 {
			t.Errorf("%s: %d lines of CSV", c.name, n)
		}
		if shown := text(all); strings.Contains(shown, "grows") == c.flat {
			t.Errorf("%s: shown as\n%s", c.name, shown)
		}
	}
	empty, err := newTable(&bytes.Buffer{}, []column{{"p", openFiles}})
	if err != nil {
		t.Fatal(err)
	}
	if all := empty.judge(0); all[0].flat {
		t.Error("a figure that was never seen counts as flat")
	}
}

// TestCached reads a file through the page cache, and advises it out.
func TestCached(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 3*mib+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := cached([]string{path, path + ".gone"}); n < 3*mib || n > 3*mib+65536 {
		t.Errorf("%v bytes of a file of 3 MiB are in the page cache", n)
	}
}

// TestUsage looks at this process.
func TestUsage(t *testing.T) {
	t.Parallel()
	u, err := usageOf(os.Getpid())
	if err != nil || u.anon < mib || u.files < 3 || u.threads < 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := usageOf(1 << 30); err == nil {
		t.Error("there is a process that can't be")
	}
}
