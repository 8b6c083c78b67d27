#!/usr/bin/env python3
"""What check.sh runs: tests and benchmarks on a GPU, and one JSON of them. See check.sh."""
import concurrent.futures
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SCHEMA = 'troupe.gpu-check/1'
H100_BF16_FLOPS = 989e12  # what mfu is of, whatever the card
UNITS = {'GFLOP/s': 1e9}  # of bench's values
SPEED_MODELS = ['dense-6x256', 'moe16-6x256', 'dense-12x768', 'moe8-12x768']
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


def other_device(check):
    """Ten steps on the card, and five on each device, end where ten on the processor do."""
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
        for name, devices in (('cpu', ['cpu']), ('cuda', ['cuda']), ('cpu then cuda', ['cpu', 'cuda'])):
            run_folder = f'{folder}/{name.replace(" ", "-")}'
            for turn, device in enumerate(devices):
                words = ['--resume'] if turn else []
                if turn + 1 < len(devices):
                    words += ['--set', 'train.steps=5']
                process = run(['./troupe', '--device', device, 'train', f'{folder}/tiny.toml', '--run', run_folder, *words], 60)
                if process.returncode != 0:
                    print(tail(process))
                    return check.result(f'training on {device} ({name})', False)
            lines = [json.loads(line) for line in open(f'{run_folder}/metrics.jsonl')]
            losses[name] = [line['loss'] for line in lines if 'loss' in line][-1]
        for name in ('cuda', 'cpu then cuda'):
            check.result(f'{name}: loss {losses[name]:.6f}, on the processor {losses["cpu"]:.6f}',
                         abs(losses[name] - losses['cpu']) < 1e-3 * losses['cpu'])


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
    other_device(check)
    sanitize(check)


def speed(check):
    process = run(['./troupe', '--device', 'cuda', 'bench', 'step', *SPEED_MODELS, '--precision', 'bf16', '--seconds', '15',
                   '--json'], 230)
    if process.returncode != 0:
        print(tail(process))
    check.result('bench step', process.returncode == 0)
    for line in (process.stdout or '').splitlines():
        row = json.loads(line)
        flops_per_s = row['value'] * UNITS[row['unit']]
        check.rows.append({
            'program': 'troupe', 'name': row['name'], 'shape': row['shape'], 'flops_per_s': flops_per_s,
            'mfu': flops_per_s / H100_BF16_FLOPS, 'ratio_to_peak': None, 'tokens_per_s': row.get('tokens_per_s'),
            'memory_bytes': None, 'repetitions': row['repetitions']})
        print(f'{row["name"]}: {row.get("tokens_per_s"):.0f} tokens/s, mfu {flops_per_s / H100_BF16_FLOPS:.3f}')


def main():
    parts = {'smoke': None, 'correct': correct, 'speed': speed}
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in parts:
        sys.exit('usage: check.sh smoke|correct|speed [OUT.json]')
    check = Check()
    states = smoke(check)
    if parts[sys.argv[1]]:
        parts[sys.argv[1]](check)
    report = {
        'schema': SCHEMA, 'commit': pathlib.Path('commit').read_text().strip(),
        'date': datetime.date.today().isoformat(), 'part': sys.argv[1], 'card': states['cuda:0'], 'driver': states['CUDA'],
        'versions': {'kernels': states.get('CUDA kernels'), 'cublaslt': states.get('cuBLASLt')},
        'tests': {'passed': check.passed, 'failed': check.failed, 'skipped': check.skipped}, 'rows': check.rows}
    if len(sys.argv) == 3:
        pathlib.Path(sys.argv[2]).write_text(json.dumps(report, indent=1) + '\n')
    print(f'{check.passed} passed, {len(check.failed)} failed, {len(check.skipped)} skipped')
    sys.exit(bool(check.failed))


main()
