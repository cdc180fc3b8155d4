package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluicedaq/sluice/internal/broker"
	"github.com/sluicedaq/sluice/internal/bus"
	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/monitor"
	"github.com/sluicedaq/sluice/internal/supervise"
)

// What a machine should have, in bytes or pieces.
const (
	shmGood, shmLeast       = 1 << 30, 64 << 20
	memoryGood, memoryLeast = 2 << 30, 512 << 20
	diskGood, diskLeast     = 10 << 30, 1 << 30
	filesGood               = 1024
	page                    = 4096
)

// grade compares what there is with what is good and what is the least.
func grade(have, good, least int64) string {
	switch {
	case have >= good:
		return fit
	case have >= least:
		return warns
	}
	return fails
}

// advise makes a finding: advice is only given where the verdict is not fit.
func advise(verdict, check, text, advice string) finding {
	if verdict != fit {
		text += ": " + advice
	}
	return finding{verdict, check, text}
}

func checkShm(dir string) finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return finding{fails, "shared memory", fmt.Sprintf("%s: %v: it must be a memory file system", dir, err)}
	}
	if st.Type != unix.TMPFS_MAGIC {
		return finding{fails, "shared memory", dir + " is no memory file system (tmpfs): mount one there"}
	}
	free, size := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	return advise(grade(free, shmGood, shmLeast), "shared memory", fmt.Sprintf("%s: %s free of %s", dir, monitor.Bytes(free), monitor.Bytes(size)),
		"the budget must fit in; in a container set --shm-size, elsewhere mount -o remount,size=2G "+dir)
}

func checkMemory() finding {
	free, err := config.FreeMemory()
	if err != nil {
		return finding{warns, "memory", err.Error()}
	}
	return advise(grade(free, memoryGood, memoryLeast), "memory", monitor.Bytes(free)+" available",
		"the default budget takes up to a quarter of it; end other programs or give a small --budget")
}

func checkCPU() finding {
	n := runtime.NumCPU()
	verdict := fit
	if n < 2 {
		verdict = warns
	}
	return advise(verdict, "processors", fmt.Sprintf("%d for us", n), "with two or more, capturing and writing don't wait for each other")
}

func checkGovernor(path string) finding {
	b, err := os.ReadFile(path)
	if err != nil {
		return finding{fit, "governor", "the processor's frequency is not this system's to govern"}
	}
	name, verdict := strings.TrimSpace(string(b)), fit
	if name == "powersave" || name == "conservative" {
		verdict = warns
	}
	return advise(verdict, "governor", name, "for high rates set performance: cpupower frequency-set -g performance")
}

func checkDisk(dir string) finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return finding{fails, "disk", fmt.Sprintf("%s: %v: --out must name a folder that is there", dir, err)}
	}
	free := int64(st.Bavail) * st.Bsize
	return advise(grade(free, diskGood, diskLeast), "disk", fmt.Sprintf("%s: %s free", dir, monitor.Bytes(free)), "a second of 2048x2048 uint16 at 100 frames/s takes 800 MiB")
}

// checkDirect writes one page past the page cache.
func checkDirect(dir string) finding {
	const name = "direct I/O"
	f, err := os.CreateTemp(dir, ".sluice-doctor-*")
	if err != nil {
		return finding{fails, name, fmt.Sprintf("%v: the folder must be writable", err)}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	fd, err := unix.Open(f.Name(), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Pwrite(fd, alignedPage(), 0)
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return finding{warns, name, fmt.Sprintf("%s refuses it (%v): writing goes through the page cache there, which is slower; ext4, xfs and btrfs take it", dir, err)}
	}
	return finding{fit, name, dir + " takes it"}
}

// alignedPage is one page whose address is a multiple of its size.
func alignedPage() []byte {
	b := make([]byte, 2*page)
	skip := -uintptr(unsafe.Pointer(&b[0])) % page
	return b[skip : skip+page]
}

func checkFiles() finding {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return finding{warns, "open files", err.Error()}
	}
	return advise(grade(int64(min(lim.Cur, 1<<62)), filesGood, 256), "open files", fmt.Sprintf("limit %d", lim.Cur), fmt.Sprintf("raise it to %d: ulimit -n %d", filesGood, filesGood))
}

func checkRuntimeDir(getenv func(string) string) finding {
	dir, err := broker.Dir(getenv)
	if err != nil {
		return finding{fails, "runtime folder", fmt.Sprintf("%v: it must be a folder of yours with mode 0700", err)}
	}
	return finding{fit, "runtime folder", dir}
}

func checkPrograms() finding {
	for _, name := range []string{"acquire", "writer", "analyze"} {
		if _, err := supervise.Sibling(name); err != nil {
			return finding{fails, "programs", fmt.Sprintf("%v: make build puts all four into bin/", err)}
		}
	}
	return finding{fit, "programs", "acquire, writer and analyze lie beside sluice"}
}

func checkOpenCV() finding {
	const without = "acquire is built without OpenCV: video files, V4L2 devices and live URLs need make build-opencv"
	path, err := supervise.Sibling("acquire")
	if err != nil {
		return finding{warns, "video", without}
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return finding{warns, "video", fmt.Sprintf("%s does not say how it was built (%v)", path, err)}
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" && strings.Contains(","+s.Value+",", ",opencv,") {
			return finding{fit, "video", "acquire is built with OpenCV"}
		}
	}
	return finding{warns, "video", without}
}

func checkNATS(ctx context.Context, p *process, n config.NATS) finding {
	const name = "NATS"
	n, err := find(p, n, "")
	switch {
	case errors.Is(err, broker.ErrNone):
		return finding{fit, name, "no local run; sluice run starts a broker of its own"}
	case errors.Is(err, broker.ErrSeveral):
		return finding{fit, name, err.Error()}
	case err != nil:
		return finding{fails, name, err.Error()}
	}
	nc, err := bus.Connect(ctx, bus.Options{NATS: n, Role: "operator", Process: "doctor", Log: p.log})
	if err != nil {
		return finding{fails, name, err.Error()}
	}
	defer nc.Close()
	return finding{fit, name, fmt.Sprintf("%s answers, version %s", nc.ConnectedUrlRedacted(), nc.ConnectedServerVersion())}
}
