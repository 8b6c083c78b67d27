#!/usr/bin/env python3
"""What check.sh runs: tests and benchmarks on a GPU, and one JSON of them. See check.sh."""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import shutil
import statistics
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
ROW_SECONDS = 5  # of measuring, after the first step
# What the part `options` measures: a model, its sequences (0: all) and how many at a time, flags of bench step, switches.
OPTIONS = [
    ('moe8-12x768', 0, 16, [], {}),
    ('moe8-12x768', 0, 16, ['--moments', 'bf16'], {}),
    ('moe8-12x768', 0, 16, ['--offload'], {}),
    ('moe8-12x768', 0, 16, [], {'TROUPE_CUDA_DETERMINISTIC': '0'}),
    ('moe8-12x768', 0, 16, [], {'TROUPE_CUDA_GROUPED': 'cutlass'}),
    ('dense-12x768', 0, 16, [], {}),
    ('dense-12x768', 0, 16, [], {'TROUPE_CUDA_DETERMINISTIC': '0'}),
    ('dense-12x768', 0, 16, [], {'TROUPE_CUDA_BIAS_SUMS': '1'}),
    ('moe8-12x768', 0, 16, [], {'TROUPE_CUDA_BIAS_SUMS': '1'}),
    ('dense-12x768', 16, 16, [], {}),
    ('dense-12x768', 16, 16, ['--release-gradients'], {}),
    ('moe64-12x768', 0, 16, [], {}),
    ('moe64-12x768', 0, 16, [], {'TROUPE_CUDA_GROUPED': 'cutlass'}),
    ('moe64-12x768', 0, 16, ['--moments', 'bf16'], {}),
    ('moe64-12x768', 16, 16, ['--moments', 'bf16', '--release-gradients'], {}),
]
# And from which size of an expert's product on the library is faster than ours (src/ops/cuda/grouped.cpp, 2^28
# multiplications): 2^26, 27, 28, 29; and 1.2, 2.4, 4.8 times 2^27.
for name, micros in (('moe16-6x256', (1, 2, 4, 8)), ('moe64-12x768', (1, 2, 4))):
    OPTIONS += [(name, 8, micro, [], {'TROUPE_CUDA_GROUPED': way}) for micro in micros for way in '01']
SHORTEST_SECONDS, LONGEST_SECONDS = 12, 120  # that a row takes, and may take
SANITIZED = 'LayerNormParity/1.Every*:MoeRowsParity/1.Every*'


class Check:
    def __init__(self, save):
        self.passed, self.failed, self.skipped, self.rows = 0, [], [], []
        self.save = save  # after every row: the machine may be taken away
        self.states = {}  # of doctor's parts

    def has_cutlass(self):
        return not self.states.get('CUTLASS', 'not built').startswith('not built')

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


def run_shard(program, test_filter, seconds, shard, shards, report, switches):
    environment = {**os.environ, **switches, 'GTEST_TOTAL_SHARDS': str(shards), 'GTEST_SHARD_INDEX': str(shard),
                   'OMP_NUM_THREADS': '2'}
    return run([f'./{program}', f'--gtest_filter={test_filter}', f'--gtest_output=json:{report}'], seconds, env=environment)


def run_tests(check, program, test_filter, seconds, switches={}):
    """In processes of their own, so that a kernel that breaks the context of one leaves the others whole."""
    what = ' '.join([program, *(f'{name}={value}' for name, value in switches.items())])
    shards = max(1, (os.cpu_count() or 1) // 2)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(shards) as pool:
        reports = [pathlib.Path(folder) / f'{shard}.json' for shard in range(shards)]
        processes = list(pool.map(lambda shard: run_shard(program, test_filter, seconds, shard, shards, reports[shard],
                                                          switches), range(shards)))
        for shard, (process, report) in enumerate(zip(processes, reports)):
            if not report.exists():
                print(tail(process, 40))
                check.result(f'{what}, part {shard + 1} of {shards} (ended with {process.returncode})', False)
                continue
            for suite in json.loads(report.read_text())['testsuites']:
                for case in suite['testsuite']:
                    name = f'{what}: {suite["name"]}.{case["name"]}'
                    if case.get('result') == 'SKIPPED':
                        check.skipped.append(name)
                    elif case.get('status') == 'RUN':
                        check.result(name, 'failures' not in case)
                    for failure in case.get('failures', [])[:2]:
                        print('    ' + failure['failure'][:400].replace('\n', '\n    '))


def smoke(check):
    doctor = json.loads(require(run(['./troupe', 'doctor', '--json'], 60), 'troupe doctor'))
    states = {backend['name']: backend['state'] for backend in doctor['backends']}
    for name in ('CUDA', 'CUDA kernels', 'cuBLASLt', 'CUTLASS'):
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
    if check.has_cutlass():
        # Refused rows would leave the products to others, unseen; this is an error where it cannot run.
        process = run(['./troupe', '--device', 'cuda', 'bench', 'step', 'moe16-6x256', '--context', '256', '--sequences', '4',
                       '--micro', '4', '--seconds', '0'], 60,
                      env={**os.environ, 'TROUPE_CUDA_GROUPED': 'cutlass', 'TROUPE_LOG': 'dispatch'})
        log = process.stdout + process.stderr
        refused = {line for line in log.splitlines() if ': not cutlass (' in line and 'one map over all rows' not in line}
        is_taken = process.returncode == 0 and not refused and all(f'{op} (bf16): cutlass' in log for op in (
            'linear_forward', 'linear_backward_input', 'linear_backward_weight'))
        if not is_taken:
            print('\n'.join([*refused, tail(process)]))
        check.result('products of experts are those of CUTLASS', is_taken)
        run_tests(check, 'gpu_models', '*TrainsAsTheProcessorDoes*bf16', 60, {'TROUPE_CUDA_GROUPED': 'cutlass'})
    else:
        check.skipped.append('models with products by CUTLASS (not in this pack)')
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


class Bench:
    """How rows are measured: what all of them have in common, and what was found out about each."""

    def __init__(self, check, options):
        self.check, self.clock, self.options = check, Clock(options.seconds), options
        self.device = ['--device', options.device]
        self.sizes = ['--context', '128'] if options.dry_run else ['--context', str(CONTEXT)]
        self.sequences = 4 if options.dry_run else SEQUENCES
        self.seconds = ['--seconds', '0.1' if options.dry_run else str(ROW_SECONDS)]
        self.programs = {'troupe': './troupe'} | ({'before': f'{options.before}/troupe'} if options.before else {})
        self.micro, self.moments, self.took = {}, {}, {}  # by program and name; micro 0: none fits

    def troupe(self, program, name, micro, seconds, flags=(), switches=None, sequences=0):
        command = [self.programs[program], *self.device, 'bench', 'step', name, '--precision', 'bf16', *self.sizes,
                   '--sequences', str(sequences or self.sequences), '--micro', str(micro), *self.seconds, '--json', *flags]
        process = run(command, seconds, env={**os.environ, **(switches or {})})
        if process.returncode != 0:
            return None, process
        line = json.loads(process.stdout)
        row = row_of(program, name, line['shape'], line, line['value'] * UNITS[line['unit']], line['ratio_to_peak'])
        return row | {'device': line['device']} | ({'switches': switches} if switches else {}), process

    def pytorch(self, name, micro, seconds):
        command = ['python3', self.options.peer, name, *self.sizes, '--sequences', str(self.sequences), '--micro', str(micro),
                   *self.seconds, '--json', *self.device, *(['--backend', 'eager'] if self.options.dry_run else [])]
        process = run(command, seconds)
        if process.returncode != 0:
            return None, process
        line = json.loads(process.stdout.splitlines()[-1])
        flops_per_s = line['mfu'] * H100_BF16_FLOPS
        peaks = [row['flops_per_s'] / row['ratio_to_peak'] for row in self.check.rows
                 if row['program'] == 'troupe' and row['ratio_to_peak']]
        row = row_of('pytorch', name, f'{line["shape"]}, torch {line["torch"]}', line, flops_per_s,
                     flops_per_s / max(peaks) if peaks else None)
        return row | {'first_step_s': line['first_step_s']}, process

    def keep(self, what, row, process):
        """A row, or why there is none: its time was over, or the check has failed."""
        if row:
            self.check.rows.append(row)
            return self.check.save()
        if process.returncode == 124:
            print(f'{what}: stopped, it {process.stderr}', flush=True)
            return self.check.skipped.append(f'{what} (it {process.stderr})')
        print(tail(process))
        self.check.result(what, False)

    def longest(self):
        return 600 if self.options.dry_run else max(SHORTEST_SECONDS, min(self.clock.left(), LONGEST_SECONDS))

    def left_out(self, what):
        """Whether a row is not begun."""
        if self.clock.left() >= max(SHORTEST_SECONDS, 1.1 * self.took.get(what, 0)) or self.options.dry_run:
            return False
        print(f'{what}: left out, {max(0, self.clock.left()):.0f} s are left')
        self.check.skipped.append(f'{what} (no time left)')
        return True

    def measure(self, program, name):
        """A row in a process of its own; half as many sequences at a time where memory does not suffice, then Troupe's
        moments in bf16, said in the row's shape."""
        what = f'{program} {name}'
        first = 2 if self.options.dry_run else STEPS[name]
        micro = self.micro.get(what, first)
        if micro == 0:
            return
        while not self.left_out(what):
            began, seconds = time.monotonic(), self.longest()
            if program == 'pytorch':
                row, process = self.pytorch(name, micro, seconds)
            else:
                row, process = self.troupe(program, name, micro, seconds, self.moments.get(what, []))
            self.took[what], self.micro[what] = time.monotonic() - began, micro
            lacks_memory = not row and any(
                words in tail(process, 40) for words in ('out of memory', 'OutOfMemory', 'OUT_OF_MEMORY'))
            if not lacks_memory or process.returncode == 124:
                if not row:
                    self.micro[what] = 0
                return self.keep(what, row, process)
            print(f'{what}: {micro} sequences at a time do not fit: {tail(process, 1)[:300]}', flush=True)
            micro //= 2
            if micro == 0 and program != 'pytorch' and what not in self.moments:
                self.moments[what], micro = ['--moments', 'bf16'], first
            if micro == 0:
                self.micro[what] = 0
                return self.check.skipped.append(f'{what} (the memory of this card does not hold it)')


def speed(check, options):
    """All models by Troupe and PyTorch, the most telling first, programs in alternating order; then backwards once more,
    as far as time goes."""
    bench = Bench(check, options)
    names = options.models or (['dense-6x256', 'moe16-6x256'] if options.dry_run else list(STEPS))
    programs = [*bench.programs] + ([] if options.alone else ['pytorch'])
    for turn, order in enumerate((names, names[::-1])):
        for number, name in enumerate(order):
            for program in programs[::1 if (turn + number) % 2 == 0 else -1]:
                bench.measure(program, name)


def what_options_cost(check, options):
    """Troupe's own options and switches, each beside the row without it."""
    bench = Bench(check, options)
    for name, sequences, micro, flags, switches in OPTIONS:
        if options.models and name not in options.models:
            continue
        if options.dry_run:
            name, sequences, micro = ('moe16-6x256' if name.startswith('moe') else 'dense-6x256'), min(sequences, 2), 2
        what = ' '.join([name, *(['--sequences', str(sequences)] if sequences else []), '--micro', str(micro), *flags,
                         *(f'{key}={value}' for key, value in switches.items())])
        if 'cutlass' in switches.values() and not check.has_cutlass():
            check.skipped.append(f'{what} (not in this pack)')
            continue
        if bench.left_out(what):
            continue
        bench.keep(what, *bench.troupe('troupe', name, micro, bench.longest(), flags, switches, sequences))
    # What a person gets who says nothing of devices.
    sizes = ['--context', '16', '--sequences', '2', '--micro', '2', '--seconds', '0']
    process = run(['./troupe', '--device', 'auto', 'bench', 'step', 'dense-6x256', '--json', *sizes], 60)
    device = json.loads(process.stdout)['device'] if process.returncode == 0 else tail(process)
    check.result(f'--device auto: {device}', device.startswith('cpu' if options.dry_run else 'cuda:0'))


def ratios(rows):
    """Of medians of a run, by model: Troupe over each other program."""
    found = {}
    for name in dict.fromkeys(row['name'] for row in rows):
        speeds = {}
        for row in rows:
            if row['name'] == name:
                speeds.setdefault(row['program'], []).append(row['tokens_per_s'])
        found |= {f'{name} over {program}': statistics.median(speeds['troupe']) / statistics.median(speeds[program])
                  for program in speeds if program != 'troupe' and 'troupe' in speeds}
    return found


def main():
    parts = {'smoke': None, 'correct': lambda check, _: correct(check), 'ranks': lambda check, _: ranks(check),
             'speed': speed, 'options': what_options_cost}
    parser = argparse.ArgumentParser(prog='check.sh', description='Checks on a GPU; see check.sh.')
    parser.add_argument('part', choices=list(parts))
    parser.add_argument('out', nargs='?', help='the JSON to write')
    parser.add_argument('--seconds', type=float, default=440, help='speed, options: stop with what there is (440)')
    parser.add_argument('--models', nargs='+', default=[], help='speed, options: these rows alone')
    parser.add_argument('--before', metavar='FOLDER', help="speed: another pack's program in turns with this one's")
    parser.add_argument('--alone', action='store_true', help='speed: without PyTorch')
    parser.add_argument('--dry-run', action='store_true', help='speed, options: small models on the processor, to try this')
    parser.add_argument('--peer', default='gpu_step.py', help="PyTorch's steps (gpu_step.py)")
    options = parser.parse_args()
    options.device = 'cpu' if options.dry_run else 'cuda'
    if unknown := [name for name in options.models if name not in STEPS and not options.dry_run]:
        parser.error(f'--models: expected some of {", ".join(STEPS)}, got {", ".join(unknown)}')
    report = {'schema': SCHEMA, 'commit': pathlib.Path('commit').read_text().strip(),
              'date': datetime.date.today().isoformat(), 'part': options.part}

    def save():
        report['tests'] = {'passed': check.passed, 'failed': check.failed, 'skipped': check.skipped}
        report['rows'], report['ratios'] = check.rows, ratios(check.rows) if options.part == 'speed' else {}
        if options.out:
            pathlib.Path(options.out).write_text(json.dumps(report, indent=1) + '\n')

    check = Check(save)
    if not options.dry_run:
        states = check.states = smoke(check)
        report |= {'card': states['cuda:0'], 'driver': states['CUDA'],
                   'versions': {'kernels': states.get('CUDA kernels'), 'cublaslt': states.get('cuBLASLt'),
                                'cudnn': states.get('cuDNN'), 'cutlass': states.get('CUTLASS')}}
    report['switches'] = {name: value for name, value in sorted(os.environ.items())
                          if name.startswith('TROUPE_CUDA_') and name != 'TROUPE_CUDA_LIBRARIES'}
    try:
        if parts[options.part]:
            parts[options.part](check, options)
    finally:  # what was measured before something broke
        save()
    for name, ratio in report['ratios'].items():
        print(f'{name}: {ratio:.3f}')
    print(f'{check.passed} passed, {len(check.failed)} failed, {len(check.skipped)} skipped')
    sys.exit(bool(check.failed))


main()
