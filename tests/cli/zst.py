"""Text of a zstd file, by the library that the program needs too (its command-line tool may be missing)."""
import ctypes
import pathlib


def read(path):
    packed = pathlib.Path(path).read_bytes()
    zstd = ctypes.CDLL('libzstd.so.1')
    zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    size = zstd.ZSTD_getFrameContentSize(packed, ctypes.c_size_t(len(packed)))
    text = ctypes.create_string_buffer(size)
    got = zstd.ZSTD_decompress(text, ctypes.c_size_t(size), packed, ctypes.c_size_t(len(packed)))
    assert got == size, (path, got, size)
    return text.raw[:size].decode()
