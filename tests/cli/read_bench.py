#!/usr/bin/env python3
"""read_bench.py MOST NAME...: standard input is the lines of `troupe bench --json` called NAME, in this order (repeats of a
name are one), each with all fields of a line and a ratio above 0 and below MOST; MOST 0: a line without a peak."""
import json
import sys

most, names = float(sys.argv[1]), sys.argv[2:]
lines = [json.loads(line) for line in sys.stdin if line.startswith('{')]
seen = list(dict.fromkeys(line['name'] for line in lines))
assert seen == names, f'expected lines {names}, got {seen}'
for line in lines:
    for field in 'shape', 'unit', 'threads', 'provenance':
        assert line[field], f'{line["name"]}: {field}'
    assert line['schema'] == 'troupe.bench/1' and line['value'] > 0, line
    if most == 0:
        assert line['peak'] is None and line['ratio_to_peak'] is None, line
        continue
    assert line['threads'] == 2 and line['repetitions'] >= 1 and line['peak'] > 0 and line['peak_name'], line
    assert line['device'] == 'cpu' and line['isa'], line
    assert 0 < line['ratio_to_peak'] < most, f'{line["name"]}: ratio {line["ratio_to_peak"]}'
