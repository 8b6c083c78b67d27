#!/usr/bin/env python3
"""split_model.py FOLDER: its model.safetensors becomes two files with an index, as tools for large models write them."""
import json
import pathlib
import struct
import sys

folder = pathlib.Path(sys.argv[1])
whole = folder / 'model.safetensors'
data = whole.read_bytes()
size = struct.unpack('<Q', data[:8])[0]
header = json.loads(data[8:8 + size])
header.pop('__metadata__', None)
names = list(header)
weight_map = {}
for number, part in enumerate([names[:len(names) // 2], names[len(names) // 2:]], 1):
    file = f'model-{number:05}-of-00002.safetensors'
    entries, body = {}, b''
    for name in part:
        begin, end = header[name]['data_offsets']
        entries[name] = dict(header[name], data_offsets=[len(body), len(body) + end - begin])
        body += data[8 + size + begin:8 + size + end]
        weight_map[name] = file
    text = json.dumps(entries).encode()
    (folder / file).write_bytes(struct.pack('<Q', len(text)) + text + body)
(folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
whole.unlink()
