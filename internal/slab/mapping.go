package slab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of the processor's large pages, and the alignment of mappings that can use them.
const hugePage = 2 << 20

// mapFile maps the first total bytes of a slab's file at an address where a large page of the file can be one of the
// mapping. It is unmapped by unmap.
func mapFile(f *os.File, total, prot int) ([]byte, error) {
	// Addresses that are aligned are among those that a larger mapping takes; the rest of it is given back.
	all := uintptr(total + hugePage)
	room, err := unix.MmapPtr(-1, 0, nil, all, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("find room to map %s: %w", f.Name(), err)
	}
	before := (hugePage - uintptr(room)%hugePage) % hugePage
	end := (before + uintptr(total) + PageSize - 1) / PageSize * PageSize
	base := unsafe.Add(room, before)
	_, err = unix.MmapPtr(int(f.Fd()), 0, base, uintptr(total), prot, unix.MAP_SHARED|unix.MAP_FIXED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map slab %s: %w", f.Name(), err), unix.MunmapPtr(room, all))
	}
	if before > 0 {
		err = unix.MunmapPtr(room, before)
	}
	if end < all {
		err = errors.Join(err, unix.MunmapPtr(unsafe.Add(room, end), all-end))
	}
	mem := unsafe.Slice((*byte)(base), total)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map slab %s: %w", f.Name(), err), unmap(mem))
	}
	return mem, nil
}

// unmap ends a mapping that mapFile made. One that has ended already is none.
func unmap(mem []byte) error {
	if len(mem) == 0 {
		return unix.EINVAL
	}
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}

// allocate takes every page of a new file now: a page that is touched and can't be had is a SIGBUS that nothing
// catches. mem is the file, mapped.
func allocate(f *os.File, mem []byte) error {
	// It goes in steps, since a signal undoes the step that it interrupts.
	const step = 32 << 20
	for at := 0; at < len(mem); {
		n := min(step, len(mem)-at)
		switch err := unix.Fallocate(int(f.Fd()), 0, int64(at), int64(n)); {
		case err == nil:
			at += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM):
			return fmt.Errorf("%w: %s gave %d bytes, the budget needs %d%s: %w", ErrNoSpace, filepath.Dir(f.Name()), at, len(mem), advice, err)
		default:
			return fmt.Errorf("allocate %d bytes in %s: %w", len(mem), filepath.Dir(f.Name()), err)
		}
	}
	return nil
}

// enlarge asks for large pages in the whole of a new file, as far as they fit into it: they are had, touched, read by
// direct I/O and given back at a fraction of the cost. mem is the file, mapped and not touched yet. A page that is there
// makes the kernel (from 6.1 on) put a large one in its place; where it won't, small ones do.
func enlarge(f *os.File, mem []byte) {
	whole := len(mem) / hugePage * hugePage
	if whole == 0 {
		return
	}
	for at := 0; at < whole; at += hugePage {
		if err := unix.Fallocate(int(f.Fd()), 0, int64(at), PageSize); err != nil && !errors.Is(err, unix.EINTR) {
			return // allocate finds out why
		}
	}
	// A refusal costs nothing but the speed.
	_ = unix.Madvise(mem[:whole], unix.MADV_COLLAPSE)
}
