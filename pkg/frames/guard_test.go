package frames_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// TestGuard cuts a mapped file short, and reads on in the ways in which pixels are read.
func TestGuard(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "pixels"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := os.Getpagesize()
	if err := f.Truncate(int64(4 * page)); err != nil {
		t.Fatal(err)
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, 4*page, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(mem); err != nil {
			t.Error(err)
		}
	}()
	sum := uint32(0)
	reads := map[string]func(b []byte){
		"byte by byte": func(b []byte) {
			for _, v := range b {
				sum += uint32(v)
			}
		},
		"checksum": func(b []byte) { sum += crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) },
		"copy":     func(b []byte) { copy(make([]byte, len(b)), b) },
		"compare":  func(b []byte) { bytes.Equal(make([]byte, len(b)), b) },
	}
	for name, read := range reads {
		if err := frames.Guard(mem, func() { read(mem) }); err != nil {
			t.Errorf("%s of a whole file: %v", name, err)
		}
	}
	if err := f.Truncate(int64(page)); err != nil {
		t.Fatal(err)
	}
	for name, read := range reads {
		if err := frames.Guard(mem, func() { read(mem) }); !errors.Is(err, frames.ErrFault) {
			t.Errorf("%s of a file that was cut: %v", name, err)
		}
		if err := frames.Guard(mem[:page], func() { read(mem[:page]) }); err != nil {
			t.Errorf("%s of what is left: %v", name, err)
		}
	}
	for name, panics := range map[string]func(){
		"a nil pointer": func() { var p *int; *p = 1 },
		"a word":        func() { panic("word") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not pass", name)
				}
			}()
			_ = frames.Guard(mem, panics)
		}()
	}
	_ = sum
}
