package usage_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const size = 64 << 20

// TestAnonymous: what is mapped and touched counts, shared memory does not, and it is what the kernel calls RssAnon.
func TestAnonymous(t *testing.T) {
	before, err := usage.Anonymous(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags int
		grows bool
	}{{unix.MAP_SHARED, false}, {unix.MAP_PRIVATE, true}} {
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|c.flags)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		after, err := usage.Anonymous(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if grew := after-before > size*3/4; grew != c.grows {
			t.Errorf("flags %#x: from %d to %d bytes", c.flags, before, after)
		}
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ = bytes.Cut(text, []byte("RssAnon:"))
		text, _, _ = bytes.Cut(text, []byte("kB"))
		kib, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if off := after - kib<<10; off > 8<<20 || off < -8<<20 {
			t.Errorf("%d bytes, the kernel's RssAnon is %d KiB", after, kib)
		}
		if err := unix.Munmap(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := usage.Anonymous(-1); !os.IsNotExist(err) {
		t.Errorf("of no process: %v", err)
	}
}

// TestPeak: it is kept when the memory goes, and the watch ends with its context and with the process.
func TestPeak(t *testing.T) {
	var p usage.Peak
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	p.Watch(ctx, os.Getpid())
	if err := unix.Munmap(b); err != nil {
		t.Fatal(err)
	}
	p.Watch(ctx, os.Getpid())
	if n := p.Bytes(); n < size {
		t.Errorf("%d bytes at most, %d were in use", n, size)
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child usage.Peak
	done := make(chan struct{})
	go func() {
		defer close(done)
		child.Watch(t.Context(), cmd.Process.Pid)
	}()
	for limit := time.After(time.Minute); child.Bytes() == 0; runtime.Gosched() {
		select {
		case <-limit:
			t.Fatal("nothing is seen of a process that lives")
		default:
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("the watch outlives its process")
	}
}

func TestCPU(t *testing.T) {
	before := usage.Own()
	for limit := time.After(time.Minute); usage.Own().Sub(before).User < 20*time.Millisecond; {
		select {
		case <-limit:
			t.Fatal("a minute of work takes no time")
		default:
		}
	}
	a := usage.CPU{User: time.Second, System: 2 * time.Second}
	if sum := a.Add(a); sum != (usage.CPU{User: 2 * time.Second, System: 4 * time.Second}) || sum.Sub(a) != a || a.Seconds() != 3 {
		t.Errorf("%+v", sum)
	}
}
