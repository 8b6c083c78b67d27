#!/usr/bin/env python3
"""What check.sh runs: tests and benchmarks on a GPU, and one JSON of them. See check.sh."""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SCHEMA = 'troupe.gpu-check/1'
H100_BF16_FLOPS = 989e12  # what mfu is of, whatever the card
UNITS = {'GFLOP/s': 1e9}  # of bench's values
CONTEXT, SEQUENCES = 2048, 128  # of an update: 262,144 tokens
# Steps, by how telling they are, and how many sequences at a time.
STEPS = {'dense-12x768': 16, 'moe8-12x768': 16, 'dense-24x1024': 16, 'moe8-24x1024': 16, 'dense-24x2048': 8,
         'moe64-12x768': 16, 'moe8-24x2048': 4}
BOTH = ['dense-12x768', 'moe8-12x768']  # of both programs in one run
ROW_SECONDS = 5  # of measuring, after the first step
SHORTEST_SECONDS, LONGEST_SECONDS = 12, 100  # that a row takes, and may take
SANITIZED = 'LayerNormParity/1.Every*:MoeRowsParity/1.Every*'


class Check:
    def __init__(self):
        self.passed, self.failed, self.skipped, self.rows = 0, [], [], []

    def result(self, name, is_good):
        if is_good:
            self.passed += 1
        else:
            self.failed.append(name)
        print(f'{"ok  " if is_good else "FAIL"} {name}', flush=True)


def run(command, seconds, **options):
    """The finished process; a return code of 124 if it took longer."""
    try:
        return subprocess.run(command, timeout=seconds, capture_output=True, text=True, errors='replace', **options)
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(command, 124, late.stdout or '', f'took more than {seconds} s')


def tail(process, lines=15):
    text = (process.stdout or '') if isinstance(process.stdout, str) else ''
    return '\n'.join((text + '\n' + str(process.stderr)).strip().splitlines()[-lines:])


def require(process, what):
    if process.returncode != 0:
        sys.exit(f'check.py: {what}: expected exit code 0, got {process.returncode}:\n{tail(process)}')
    return process.stdout


def run_shard(program, test_filter, seconds, shard, shards, report):
    environment = {**os.environ, 'GTEST_TOTAL_SHARDS': str(shards), 'GTEST_SHARD_INDEX': str(shard), 'OMP_NUM_THREADS': '2'}
    return run([f'./{program}', f'--gtest_filter={test_filter}', f'--gtest_output=json:{report}'], seconds, env=environment)


def run_tests(check, program, test_filter, seconds):
    """In processes of their own, so that a kernel that breaks the context of one leaves the others whole."""
    shards = max(1, (os.cpu_count() or 1) // 2)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(shards) as pool:
        reports = [pathlib.Path(folder) / f'{shard}.json' for shard in range(shards)]
        processes = list(pool.map(lambda shard: run_shard(program, test_filter, seconds, shard, shards, reports[shard]),
                                  range(shards)))
        for shard, (process, report) in enumerate(zip(processes, reports)):
            if not report.exists():
                print(tail(process, 40))
                check.result(f'{program}, part {shard + 1} of {shards} (ended with {process.returncode})', False)
                continue
            for suite in json.loads(report.read_text())['testsuites']:
                for case in suite['testsuite']:
                    name = f'{program}: {suite["name"]}.{case["name"]}'
                    if case.get('result') == 'SKIPPED':
                        check.skipped.append(name)
                    elif case.get('status') == 'RUN':
                        check.result(name, 'failures' not in case)
                    for failure in case.get('failures', [])[:2]:
                        print('    ' + failure['failure'][:400].replace('\n', '\n    '))


def smoke(check):
    doctor = json.loads(require(run(['./troupe', 'doctor', '--json'], 60), 'troupe doctor'))
    states = {backend['name']: backend['state'] for backend in doctor['backends']}
    for name in ('CUDA', 'CUDA kernels', 'cuBLASLt'):
        print(f'{name}: {states.get(name)}')
    if 'cuda:0' not in states:
        sys.exit(f'check.py: expected a card that works, got none: {states.get("CUDA")}')
    print(f'cuda:0: {states["cuda:0"]}')
    first = run(['./gpu_rows', '--gtest_filter=FillParity.*'], 60, env={**os.environ, 'TROUPE_CUDA_WAIT': '1'})
    require(first, 'the first kernel on the card')
    return states


def losses_of(check, trainings):
    """The last loss of a small model after ten steps, by name; `trainings`: the words before `train` of every part of one.
    None if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)
        (base / 'text.txt').write_text('\n\n'.join(f'The number after {n} is {n + 1}.' for n in range(4000)))
        for command in (['tokenizer', 'train', '--vocab-size', '400', '--out', f'{folder}/tok', f'{folder}/text.txt'],
                        ['encode', '--tokenizer', f'{folder}/tok', '--out', f'{folder}/data', f'{folder}/text.txt']):
            require(run(['./troupe', *command], 60), ' '.join(command[:2]))
        (base / 'tiny.toml').write_text(f'''[model]
num_layers = 2
d_model = 64
num_heads = 2
d_ff = 128
vocab_size = 400
context = 64
moe.num_experts = 4
[data]
train = ["{folder}/data"]
[train]
steps = 10
batch_sequences = 16
precision = "fp32"
log_every = 1
[train.schedule]
kind = "constant"
lr = 1e-3
''')
        losses = {}
        for name, parts in trainings.items():
            run_folder = f'{folder}/{name.replace(" ", "-")}'
            for turn, command in enumerate(parts):
                words = ['--resume'] if turn else []
                if turn + 1 < len(parts):
                    words += ['--set', 'train.steps=5']
                process = run([*command, 'train', f'{folder}/tiny.toml', '--run', run_folder, *words], 60)
                if process.returncode != 0:
                    print(f'ended with {process.returncode}:\n{process.stdout}\n{process.stderr}')
                    check.result(f'training: {name}', False)
                    return {}
            lines = [json.loads(line) for line in open(f'{run_folder}/metrics.jsonl')]
            losses[name] = [line['loss'] for line in lines if 'loss' in line][-1]
        return losses


def compare_losses(check, trainings):
    """All end where the first one does."""
    losses = losses_of(check, trainings)
    for name, loss in list(losses.items())[1:]:
        first, expected = next(iter(losses.items()))
        check.result(f'{name}: loss {loss:.6f}, {first} {expected:.6f}', abs(loss - expected) < 1e-3 * expected)


def other_device(check):
    """Ten steps on the card, and five on each device, end where ten on the processor do."""
    cpu, cuda = (['./troupe', '--device', device] for device in ('cpu', 'cuda'))
    compare_losses(check, {'cpu': [cpu], 'cuda': [cuda], 'cpu then cuda': [cpu, cuda]})


def ranks(check):
    """Two ranks that share the card: models against one process there, and a run that goes on with another number of them."""
    if not shutil.which('mpirun') or not os.path.exists('gpu_ranks'):
        return check.skipped.append('two ranks on the card (no mpirun, or pack.sh ran without MPI)')
    two = ['mpirun', '-n', '2']
    process = run([*two, './gpu_ranks'], 120)
    if process.returncode != 0:
        print(tail(process, 60))
    check.result('gpu_ranks on two ranks', process.returncode == 0)
    one = ['./troupe', '--device', 'cuda']
    return compare_losses(check, {'one process': [one], 'two ranks': [[*two, *one]], 'two ranks then one': [[*two, *one], one]})


def sanitize(check):
    tool = shutil.which('compute-sanitizer') or '/usr/local/cuda/bin/compute-sanitizer'
    if not os.path.exists(tool):
        return check.skipped.append('compute-sanitizer (not there)')
    process = run([tool, '--error-exitcode', '9', './gpu_rows', f'--gtest_filter={SANITIZED}'], 100)
    if process.returncode != 0:
        print(tail(process, 30))
    return check.result('compute-sanitizer memcheck', process.returncode == 0)


def correct(check):
    run_tests(check, 'gpu_rows', '-*BitsDoNotDependOnThreads*:*SameBitsForAnyNumberOfThreads*:LinearDispatch.*', 150)
    run_tests(check, 'gpu_models', '*', 60)
    ranks(check)
    other_device(check)
    sanitize(check)


class Clock:
    """What is left of a part's time."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


def row_of(program, name, shape, line, flops_per_s, ratio):
    row = {'program': program, 'name': name, 'shape': shape, 'flops_per_s': flops_per_s,
           'mfu': flops_per_s / H100_BF16_FLOPS, 'ratio_to_peak': ratio, 'tokens_per_s': line['tokens_per_s'],
           'memory_bytes': line['memory_bytes'], 'repetitions': line['repetitions']}
    row |= {part: line[part] for part in ('arena_bytes', 'stores_bytes', 'workspaces_bytes') if part in line}
    print(f'{program:8} {name:14} {line["tokens_per_s"]:9.0f} tokens/s, mfu {row["mfu"]:.3f}, of the measured peak '
          f'{ratio or 0:.3f}, {line["memory_bytes"] / 2**30:.1f} GiB; {shape}', flush=True)
    return row


def troupe_row(name, micro, seconds):
    command = ['./troupe', '--device', 'cuda', 'bench', 'step', name, '--precision', 'bf16', '--context', str(CONTEXT),
               '--sequences', str(SEQUENCES), '--micro', str(micro), '--seconds', str(ROW_SECONDS), '--json']
    process = run(command, seconds)
    if process.returncode != 0:
        return None, process
    line = json.loads(process.stdout)
    return row_of('troupe', name, line['shape'], line, line['value'] * UNITS[line['unit']], line['ratio_to_peak']), process


def pytorch_row(name, micro, seconds, peak):
    command = ['python3', 'gpu_step.py', name, '--context', str(CONTEXT), '--sequences', str(SEQUENCES), '--micro',
               str(micro), '--seconds', str(ROW_SECONDS), '--json']
    process = run(command, seconds)
    if process.returncode != 0:
        return None, process
    line = json.loads(process.stdout.splitlines()[-1])
    flops_per_s = line['mfu'] * H100_BF16_FLOPS
    return row_of('pytorch', name, f'{line["shape"]}, torch {line["torch"]}', line, flops_per_s,
                  flops_per_s / peak if peak else None), process


def measure(check, clock, program, name):
    """A row in a process of its own; half as many sequences at a time where memory does not suffice."""
    micro = STEPS[name]
    while True:
        if clock.left() < SHORTEST_SECONDS:
            print(f'{program} {name}: left out, {max(0, clock.left()):.0f} s are left')
            return check.skipped.append(f'{program} {name} (no time left)')
        if program == 'troupe':
            row, process = troupe_row(name, micro, min(clock.left(), LONGEST_SECONDS))
        else:
            peaks = [found['flops_per_s'] / found['ratio_to_peak'] for found in check.rows if found['program'] == 'troupe']
            row, process = pytorch_row(name, micro, min(clock.left(), LONGEST_SECONDS), max(peaks, default=None))
        if row:
            return check.rows.append(row)
        if process.returncode == 124:
            print(f'{program} {name}: stopped, it {process.stderr}', flush=True)
            return check.skipped.append(f'{program} {name} (it {process.stderr})')
        if any(words in tail(process, 40) for words in ('out of memory', 'OutOfMemory', 'OUT_OF_MEMORY')):
            print(f'{program} {name}: {micro} sequences at a time do not fit: {tail(process, 1)[:300]}', flush=True)
            if micro == 1:
                return check.skipped.append(f'{program} {name} (the memory of this card does not hold it)')
            micro //= 2
            continue
        print(tail(process))
        return check.result(f'{program} {name}', False)


def speed(check, options):
    """Ours, and one dense and one sparse row of PyTorch beside them: the most telling first, as far as time goes."""
    clock = Clock(options.seconds)
    order = [('troupe', name) for name in BOTH] + [('pytorch', name) for name in BOTH]
    order += [('troupe', name) for name in STEPS if name not in BOTH]
    for program, name in order:
        if not options.models or name in options.models:
            measure(check, clock, program, name)


def peers(check, options):
    """PyTorch's steps, all of them; one of ours first, which measures the peak."""
    clock = Clock(options.seconds)
    names = options.models or list(STEPS)
    measure(check, clock, 'troupe', names[0])
    for name in names:
        measure(check, clock, 'pytorch', name)


def main():
    parts = {'smoke': None, 'correct': lambda check, _: correct(check), 'ranks': lambda check, _: ranks(check),
             'speed': speed, 'peers': peers}
    parser = argparse.ArgumentParser(prog='check.sh', description='Checks on a GPU; see check.sh.')
    parser.add_argument('part', choices=list(parts))
    parser.add_argument('out', nargs='?', help='the JSON to write')
    parser.add_argument('--seconds', type=float, default=230, help='speed, peers: stop with what there is (230)')
    parser.add_argument('--models', nargs='+', choices=list(STEPS), default=[], help='speed, peers: these rows alone')
    options = parser.parse_args()
    check = Check()
    states = smoke(check)
    report = {
        'schema': SCHEMA, 'commit': pathlib.Path('commit').read_text().strip(),
        'date': datetime.date.today().isoformat(), 'part': options.part, 'card': states['cuda:0'],
        'driver': states['CUDA'],
        'versions': {'kernels': states.get('CUDA kernels'), 'cublaslt': states.get('cuBLASLt'),
                     'cudnn': states.get('cuDNN')},
        'switches': {name: value for name, value in sorted(os.environ.items())
                     if name.startswith('TROUPE_CUDA_') and name != 'TROUPE_CUDA_LIBRARIES'}}
    try:
        if parts[options.part]:
            parts[options.part](check, options)
    finally:  # what was measured before something broke
        report['tests'] = {'passed': check.passed, 'failed': check.failed, 'skipped': check.skipped}
        report['rows'] = check.rows
        if options.out:
            pathlib.Path(options.out).write_text(json.dumps(report, indent=1) + '\n')
    print(f'{check.passed} passed, {len(check.failed)} failed, {len(check.skipped)} skipped')
    sys.exit(bool(check.failed))


main()
