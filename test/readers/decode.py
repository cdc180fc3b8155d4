"""Decodes chunks with the C libraries that other programs use, c-blosc and zstd, called directly: nothing of Sluice is in it.

    python3 decode.py

Standard input has one chunk after the other: the library's letter (b or z), the lengths of the chunk and of what it holds, both
as little-endian uint32, and the chunk. Standard output gets what each holds.
"""
import ctypes
import struct
import sys

blosc = ctypes.CDLL("libblosc.so.1")
zstd = ctypes.CDLL("libzstd.so.1")
blosc.blosc_decompress_ctx.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_getFrameContentSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong

while head := sys.stdin.buffer.read(9):
    library, size, length = struct.unpack("<cII", head)
    chunk = sys.stdin.buffer.read(size)
    out = ctypes.create_string_buffer(length + 1)
    if library == b"b":
        n = blosc.blosc_decompress_ctx(chunk, out, length, 1)
    else:
        if zstd.ZSTD_getFrameContentSize(chunk, size) != length:
            sys.exit("the frame does not say its length")
        n = zstd.ZSTD_decompress(out, length, chunk, size)
    if n != length:
        sys.exit(f"library {library}: {length} bytes are {n}")
    sys.stdout.buffer.write(out.raw[:length])
    sys.stdout.buffer.flush()
