"""Texts cut at line ends into documents of about `size` bytes, for the comparisons of tokenizers."""
import pathlib


def documents(paths, size=16384):
    texts = []
    for path in paths:
        data = pathlib.Path(path).read_bytes()
        begin = 0
        while begin < len(data):
            end = data.find(b"\n", begin + size)
            end = len(data) if end < 0 else end + 1
            texts.append(data[begin:end].decode())
            begin = end
    return texts
