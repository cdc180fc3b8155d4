package monitor

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/bus"
)

// TestOutputNobodyReads: a pipe that is full holds nobody up, and gets what is written once it is read again.
func TestOutputNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	screen := Open(w, time.Hour)
	line := strings.Repeat("x", 4000)
	for range 100 { // far more than the pipe takes
		screen.Say(line)
		screen.Show(bus.Status{State: bus.StateRunning})
	}
	screen.Close()

	o := NewOutput(w, 10*time.Millisecond)
	defer o.Close()
	if _, err := o.Write([]byte(line)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a full pipe: %v", err)
	}
	if err := r.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1<<20)
	n := 0
	for {
		k, err := r.Read(got[n:])
		n += k
		if err != nil {
			break
		}
	}
	if n < 4000 || !bytes.HasPrefix(got, []byte(line+"\n")) {
		t.Errorf("%d bytes came, %.20q", n, got[:n])
	}
	o.rest = time.Time{}
	if _, err := o.Write([]byte("again")); err != nil {
		t.Errorf("once it is read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte("nobody")); err == nil {
		t.Error("nobody can read this, and there was no error")
	}
}

// TestOutputOfFiles: files and devices that don't wait are written to as they are.
func TestOutputOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, name := range []string{path, os.DevNull} {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		o := NewOutput(f, time.Millisecond)
		if n, err := o.Write([]byte("hello\n")); n != 6 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if err := errors.Join(o.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "hello\n" {
		t.Errorf("%q, %v", b, err)
	}
}
