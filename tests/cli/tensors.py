#!/usr/bin/env python3
"""tensors.py write FILE NAME=1,2:3,4...: a safetensors file of I64 tensors, rows divided by ':'.
tensors.py read FILE: a line for each tensor, its name and values (F32, U8)."""
import json
import struct
import sys

command, file, *rest = sys.argv[1:]
if command == 'write':
    header, body = {}, b''
    for text in rest:
        name, _, values = text.partition('=')
        rows = [[int(word) for word in row.split(',') if word] for row in values.split(':')]
        data = b''.join(struct.pack(f'<{len(row)}q', *row) for row in rows)
        header[name] = {'dtype': 'I64', 'shape': [len(rows), len(rows[0])], 'data_offsets': [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    with open(file, 'wb') as out:
        out.write(struct.pack('<Q', len(text)) + text + body)
else:
    with open(file, 'rb') as source:
        data = source.read()
    size = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop('__metadata__', None)
    for name, entry in header.items():
        begin, end = entry['data_offsets']
        kind = {'F32': 'f', 'U8': 'B'}[entry['dtype']]
        values = struct.unpack(f'<{(end - begin) // struct.calcsize(kind)}{kind}', data[8 + size + begin:8 + size + end])
        print(name, *values)
