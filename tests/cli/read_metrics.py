#!/usr/bin/env python3
"""read_metrics.py METRICS.jsonl TABLE.csv EVENTS: `troupe metrics` against its source, read by other means: TFRecord
framing with a bitwise CRC-32C, and protocol buffers field by field."""
import csv
import json
import struct
import sys


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def records(path):
    data = open(path, 'rb').read()
    while data:
        size, = struct.unpack('<Q', data[:8])
        assert struct.unpack('<I', data[8:12])[0] == masked(data[:8]), 'checksum of a length'
        body = data[12:12 + size]
        assert len(body) == size and struct.unpack('<I', data[12 + size:16 + size])[0] == masked(body), 'checksum'
        yield body
        data = data[16 + size:]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def message(data):
    fields, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            if kind == 2:
                size, at = varint(data, at)
            else:
                size = {1: 8, 5: 4}[kind]
            value, at = data[at:at + size], at + size
        fields[key >> 3] = value
    return fields


expected = {}
for line in map(json.loads, open(sys.argv[1])):
    schema = line['schema']
    if schema == 'troupe.train/1':
        expected['train/loss', line['step']] = line['loss']
        expected['train/lr', line['step']] = line['lr']
    elif schema == 'troupe.valid/1':
        expected['valid/' + line['data'] + '/nll', line['step']] = line['nll']
    elif schema == 'troupe.task/1':
        expected['/'.join(['task', line['task'], line['convention'], line['metric']]), line['step']] = line['value']
assert len(expected) > 10

rows = list(csv.DictReader(open(sys.argv[2])))
steps = [int(row['step']) for row in rows]
assert steps == sorted(set(steps)), steps
table = {(tag, int(row['step'])): float(cell) for row in rows for tag, cell in row.items() if tag != 'step' and cell}
events = [message(body) for body in records(sys.argv[3])]
assert events[0][3] == b'brain.Event:2'
found = {}
for event in events[1:]:
    value = message(message(event[5])[1])
    assert struct.unpack('<d', event[1])[0] > 1.7e9
    found[value[1].decode(), event.get(2, 0)] = struct.unpack('<f', value[2])[0]
assert found.keys() == table.keys()
for key, value in expected.items():
    assert table[key] == value, (key, table[key], value)
    assert found[key] == struct.unpack('<f', struct.pack('<f', value))[0], (key, found[key], value)
