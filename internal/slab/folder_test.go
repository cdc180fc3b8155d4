package slab

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// Every file that is not what a slab must be is refused by a consumer and by the next owner, and listed as what
// it is.
func TestRefusesWhatIsNoSlab(t *testing.T) {
	edit := func(at int64, b ...byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	do := func(f func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := f(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := map[string]struct {
		spoil func(*testing.T, string)
		want  error
		text  string
	}{
		"readable by others": {do(func(p string) error { return os.Chmod(p, 0o644) }), ErrForeign, "mode 0600"},
		"a link": {do(func(p string) error {
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		}), ErrForeign, "it is a link"},
		"a folder":            {do(func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }), nil, ""},
		"a pipe":              {do(func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) }), ErrForeign, "mode 0600"},
		"empty":               {do(func(p string) error { return os.Truncate(p, 0) }), ErrDamaged, "ends after 0 bytes"},
		"one byte less":       {do(func(p string) error { return grow(p, -1) }), ErrDamaged, "its header says"},
		"one byte more":       {do(func(p string) error { return grow(p, 1) }), ErrDamaged, "its header says"},
		"other magic":         {edit(0, 'X'), ErrDamaged, "does not begin with"},
		"an older version":    {edit(8, 1), ErrDamaged, "version is 1, this program knows 3"},
		"a newer version":     {edit(8, 4), ErrDamaged, "version is 4"},
		"header changed":      {edit(16, 1), ErrDamaged, "header's checksum"},
		"description changed": {edit(PageSize+10, '!'), ErrDamaged, "description's checksum"},
	}
	if os.Getuid() == 0 {
		cases["another owner"] = struct {
			spoil func(*testing.T, string)
			want  error
			text  string
		}{do(func(p string) error { return os.Chown(p, 65534, -1) }), ErrForeign, "this user owns"}
	} else if info, err := os.Lstat("/"); err != nil || ours(info) {
		t.Errorf("the root folder counts as ours: %v", err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustCreateIn(t, dir, 64, 2)
			kill(t, s)
			c.spoil(t, s.Path())
			_, openErr := Open(dir, s.Path(), s.Spec().Run)
			_, resumeErr := Resume(s.Path())
			for what, err := range map[string]error{"open": openErr, "resume": resumeErr} {
				if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v, want %v with %q", what, err, c.want, c.text)
				}
			}
			list, err := List(dir)
			if err != nil || len(list) != 1 || list[0].Err == nil || list[0].InUse {
				t.Errorf("listed as %+v, %v", list, err)
			}
			if left, err := Abandoned(dir, "cam0"); err != nil || len(left) != 0 {
				t.Errorf("abandoned: %+v, %v", left, err)
			}
		})
	}
}

func grow(path string, n int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()+n)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	s := mustCreateIn(t, dir, 64, 1)
	elsewhere := filepath.Join(t.TempDir(), filepath.Base(s.Path()))
	if err := os.Link(s.Path(), elsewhere); err != nil {
		t.Fatal(err)
	}
	noSlab := filepath.Join(UserDir(dir), "cam0.member")
	for name, c := range map[string]struct {
		path string
		id   frames.RunID
		want error
	}{
		"another folder":       {elsewhere, s.Spec().Run, ErrForeign},
		"a way out":            {UserDir(dir) + "/../x.slab", s.Spec().Run, ErrForeign},
		"another kind of name": {noSlab, s.Spec().Run, ErrForeign},
		"another run":          {s.Path(), frames.NewRunID(), ErrForeign},
		"nothing":              {s.Path() + ".slab", s.Spec().Run, fs.ErrNotExist},
	} {
		if _, err := Open(dir, c.path, c.id); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFolder(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"open to others": func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o755)) },
		"a link":         func(p string) error { return errors.Join(os.Mkdir(p+"x", 0o700), os.Symlink(p+"x", p)) },
		"a file":         func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := spoil(UserDir(dir)); err != nil {
				t.Fatal(err)
			}
			_, err := Create(Config{Dir: dir, Spec: testSpec(64), Slots: 1})
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), UserDir(dir)) {
				t.Errorf("got %v, want ErrForeign and the path", err)
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := EnsureDir(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no memory file system: %v", err)
	}
	if list, err := List(missing); err != nil || len(list) != 0 {
		t.Errorf("slabs of nowhere: %v, %v", list, err)
	}
}

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	if err := Room(dir, 1); err != nil {
		t.Error(err)
	}
	const need = int64(1) << 62
	if err := Room(dir, need); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "needs 4611686018427387904") || !strings.Contains(err.Error(), "bytes free") {
		t.Errorf("got %v, want ErrNoSpace with both figures", err)
	}
	spec := testSpec(1 << 30)
	if _, err := Create(Config{Dir: dir, Spec: spec, Slots: MaxSlots}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a petabyte: %v, want ErrNoSpace", err)
	}
}

// With a memory file system of 1 MiB, where this process may mount one: neither the check nor the allocation
// itself lets a slab begin that cannot be had, and both leave nothing behind.
func TestSmallMemory(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		if errors.Is(err, unix.EPERM) {
			return // TestRoom has shown the check; the allocation needs a full file system
		}
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	const full = 1 << 20
	_, err := Create(Config{Dir: dir, Spec: testSpec(PageSize), Slots: full / PageSize})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "1048576 bytes free") {
		t.Errorf("got %v, want ErrNoSpace with both figures", err)
	}
	if left, err := os.ReadDir(UserDir(dir)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem, err := mapFile(f, 3*full, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		t.Fatal(err)
	}
	if err := allocate(f, mem); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "needs 3145728") {
		t.Errorf("got %v, want ErrNoSpace with the need", err)
	}
	if err := unmap(mem); err != nil {
		t.Error(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if f.Close() != nil {
		t.Fatal("close")
	}
	s, err := Create(Config{Dir: dir, Spec: testSpec(PageSize), Slots: 64})
	if err != nil {
		t.Fatalf("a slab that fits: %v", err)
	}
	kill(t, s)
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	alive, dead, done := mustCreateIn(t, dir, 64, 4), mustCreateIn(t, dir, 64, 4), mustCreateIn(t, dir, 64, 4)
	capture(t, dead, 0, 1)
	capture(t, dead, 1, 2)
	capture(t, dead, 2, 0)
	dead.SetPhase(Draining)
	done.SetPhase(Done)
	kill(t, dead)
	kill(t, done)
	list, err := List(dir)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d listed, %v; want 3", len(list), err)
	}
	by := map[string]Info{}
	for _, i := range list {
		if i.Err != nil || i.Bytes != int64(alive.Bytes()) || i.Spec.Camera != "cam0" {
			t.Errorf("%+v", i)
		}
		by[i.Path] = i
	}
	if i := by[alive.Path()]; !i.InUse || i.Phase != Capturing || i.Captured != 0 || i.Held != 0 || i.Spec.Run != alive.Spec().Run {
		t.Errorf("the living one: %+v", i)
	}
	if i := by[dead.Path()]; i.InUse || i.Phase != Draining || i.Captured != 3 || i.Held != 2 {
		t.Errorf("the dead one: %+v", i)
	}
	if i := by[done.Path()]; i.InUse || i.Phase != Done {
		t.Errorf("the finished one: %+v", i)
	}
	left, err := Abandoned(dir, "cam0")
	if err != nil || !slices.EqualFunc(left, []string{dead.Path()}, func(i Info, p string) bool { return i.Path == p }) {
		t.Errorf("abandoned: %+v, %v; want %s", left, err, dead.Path())
	}
	if left, err := Abandoned(dir, "cam1"); err != nil || len(left) != 0 {
		t.Errorf("abandoned by another camera: %+v, %v", left, err)
	}
}

// A slab that is being made has no header yet, and is in use all the same.
func TestListWhileBeingMade(t *testing.T) {
	dir := t.TempDir()
	s := mustCreateIn(t, dir, 64, 1)
	clear(s.mem[:PageSize])
	list, err := List(dir)
	if err != nil || len(list) != 1 || !list[0].InUse || !errors.Is(list[0].Err, ErrDamaged) {
		t.Errorf("%+v, %v", list, err)
	}
}

// Nobody is refused because another only looks.
func TestAskingIsInNobodysWay(t *testing.T) {
	dir := t.TempDir()
	s := mustCreateIn(t, dir, 64, 1)
	path := s.Path()
	kill(t, s)
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := List(dir); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 200 {
		s, err := Resume(path)
		if err != nil {
			t.Error(err)
			break
		}
		kill(t, s)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHeaderGolden(t *testing.T) {
	spec := testSpec(5000)
	spec.Run = frames.RunID{0xa1, 15: 0x2b}
	b := make([]byte, PageSize+specSize)
	l := newLayout(spec, 3, 2)
	l.put(b, []byte("{}"))
	for i, want := range map[int]uint64{16: 5000, 24: 8192, 32: 77824, 40: 81920, 48: 479232, 56: 503808} {
		if got := binary.LittleEndian.Uint64(b[i:]); got != want {
			t.Errorf("at %d: %d, want %d", i, got, want)
		}
	}
	if string(b[:8]) != "SLUICESL" || b[8] != 3 || b[12] != 3 || b[64] != 0xa1 || b[79] != 0x2b || string(b[80:85]) != "cam0\x00" || b[112] != 2 {
		t.Errorf("header % x", b[:128])
	}
}
