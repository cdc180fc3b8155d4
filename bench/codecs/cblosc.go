//go:build cblosc

package main

/*
#cgo LDFLAGS: -lblosc -lzstd -lz
#include <blosc.h>
#include <zlib.h>
#include <zstd.h>
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// cBlosc is c-blosc with one thread, blocks of its own choice.
func cBlosc(name string, shuffle, level, elem int) codec {
	shuffles := []string{"noshuffle", "shuffle", "bitshuffle"}
	compressor := C.CString(name) // kept: the table needs it to the end
	return codec{
		fmt.Sprintf("c-blosc %s, %s, level %d", name, shuffles[shuffle], level),
		func() encode {
			return func(dst, src []byte) int {
				return int(C.blosc_compress_ctx(C.int(level), C.int(shuffle), C.size_t(elem), C.size_t(len(src)),
					unsafe.Pointer(&src[0]), unsafe.Pointer(&dst[0]), C.size_t(len(dst)), compressor, 0, 1))
			}
		},
	}
}

func cZstd(level int) codec {
	return codec{fmt.Sprintf("zstd in C, level %d", level), func() encode {
		ctx := C.ZSTD_createCCtx() // one for each core, kept to the end
		return func(dst, src []byte) int {
			return int(C.ZSTD_compressCCtx(ctx, unsafe.Pointer(&dst[0]), C.size_t(len(dst)), unsafe.Pointer(&src[0]), C.size_t(len(src)), C.int(level)))
		}
	}}
}

func cGzip(level int) codec {
	return codec{fmt.Sprintf("gzip in C, level %d", level), func() encode {
		return func(dst, src []byte) int {
			n := C.uLongf(len(dst))
			if C.compress2((*C.Bytef)(&dst[0]), &n, (*C.Bytef)(&src[0]), C.uLong(len(src)), C.int(level)) != C.Z_OK {
				return 0
			}
			return int(n)
		}
	}}
}
