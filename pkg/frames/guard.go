package frames

import (
	"fmt"
	"runtime/debug"
	"unsafe"
)

// Guard runs read, which reads memory that is mapped from a file. Where another process has cut the file short the kernel
// answers with a signal that would end this process: read then ends at that place, and the error wraps [ErrFault]. read
// must hold no lock and must not wait for another goroutine that reads. Every other panic passes.
func Guard(memory []byte, read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface{ Addr() uintptr })
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
		if !ok || fault.Addr() < begin || fault.Addr()-begin >= uintptr(cap(memory)) {
			panic(r)
		}
		err = fmt.Errorf("reading byte %d of %d: %w", fault.Addr()-begin, cap(memory), ErrFault)
	}()
	read()
	return nil
}
