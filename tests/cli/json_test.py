#!/usr/bin/env python3
"""Every line of --json names a schema of docs/json.md and has the fields that stand there.

    json_test.py PROGRAM TEST_DATA DOCS_JSON_MD SOURCE_FOLDER [--write]

The table of docs/json.md is `| schema | printed by | fields |`; a field that not every line has ends in `?`. With --write the
fields of the lines seen here are written into it.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

program, data, table, source = [pathlib.Path(arg).resolve() for arg in sys.argv[1:5]]
os.environ.update(OMP_NUM_THREADS='2', OMP_WAIT_POLICY='passive')
ROW = re.compile(r'^\| `(troupe\.[a-z_.]+/\d+)` \| (.*?) \|\s*(.*?)\s*\|$')
RUN = '''[model]
num_layers = 1
d_model = 16
num_heads = 1
d_ff = 16
vocab_size = 50257
eos_id = 50256
context = 16
[train]
steps = 2
batch_sequences = 2
precision = "fp32"
log_every = 1
[data]
train = ["data"]
valid = ["data"]
'''
STUDY = '''[study]
corpus = "corpus"
vocab_size = 270
models = ["dense=small.toml", "again=small.toml"]
tokens = 1000
prompts = ["a"]
sample_tokens = 5
'''
GRID = '''[study]
corpus = "corpus"
vocab_size = 270
[study.grid]
families = ["dense=small.toml", "moe=moe.toml"]
sizes = ["1x16"]
tokens = [500, 1000]
lr_trials = 3
speed_seconds = 0.01
[study.tasks]
names = ["pets.toml"]
data_dir = "."
'''
PETS = '''name = "pets"
about = "cats and dogs"
citation = "none"
published = "none"
folder = "pets"
evaluate = "v"
[[source]]
format = "jsonl"
files = { v = "v.jsonl" }
[harness]
context = "{q}"
choices = "{a}"
label = "{y}"
metrics = ["acc"]
'''
seen = collections.defaultdict(list)  # schema -> the sets of fields of its lines
faults = []


def run(*args, stdin='', json_too=True):
    words = [str(program), *map(str, args)] + (['--json'] if json_too else [])
    done = subprocess.run(words, input=stdin, capture_output=True, text=True)
    if done.returncode:
        faults.append(f'{" ".join(words)}: exit code {done.returncode}: {done.stderr}')
    return done.stdout


def take(what, text):
    lines = text.splitlines()
    if not lines:
        faults.append(f'{what}: expected lines of JSON, got none')
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            faults.append(f'{what}: expected JSON, got {line[:200]}')
            continue
        if not isinstance(value, dict) or 'schema' not in value:
            faults.append(f'{what}: expected an object with a schema, got {line[:200]}')
        else:
            seen[value.pop('schema')].append(list(value))


def see(*args, stdin=''):
    take(' '.join(map(str, args)), run(*args, stdin=stdin))


def commands(path=()):
    """The commands without subcommands, as --help names them."""
    text = run(*path, '--help', json_too=False)
    subs = re.findall(r'^  (\S+)', text.split('\nSubcommands:\n')[1], re.MULTILINE) if '\nSubcommands:\n' in text else []
    if not subs:
        yield path, text
    for sub in subs:
        yield from commands(path + (sub,))


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    path = pathlib.Path
    path('text.txt').write_text(''.join(f'The {i % 7}th cat sat on mat number {i % 11}.\n\n' for i in range(60)))
    path('run.toml').write_text(RUN)
    bpe = data / 'gpt2-bpe'
    see('encode', '--tokenizer', bpe, '--out', 'data', 'text.txt')
    see('tokenizer', 'train', '--vocab-size', 300, '--out', 'tok', 'text.txt')
    see('tokenizer', 'encode', '--tokenizer', bpe, stdin='a cat')
    see('tokenizer', 'decode', '--tokenizer', bpe, stdin='[64, 255]')
    see('corpus', 'list')
    see('corpus', 'stats', 'text.txt')
    see('corpus', 'build', '--out', 'corpus', '--domain', 'cats=text.txt', '--valid-share', 0.2)
    see('config', 'show', 'run.toml')
    see('config', 'reference')
    see('cost', '--preset', 'moe-15b')
    see('cost', '--table')
    path('cluster.toml').write_text('nodes = 2\ngb_per_rank = 1e5\ntflops = 1\n[between]\ngb_per_s = 10\n')
    see('cost', '--preset', 'moe-15b', '--plan', 'cluster.toml')
    see('doctor')
    see('train', 'run.toml', '--run', 'run')
    see('train', 'run.toml', '--run', 'moe', '--set', 'model.moe.num_experts=4', '--set', 'model.moe.every=1')
    see('train', 'run.toml', '--run', 'plan', '--dry-run')
    see('follow', 'run')
    see('metrics', 'run')
    see('inspect', 'run', '--stats')
    see('inspect', 'data')
    see('convert', 'run', 'model')
    see('generate', '--model', 'run', '--prompt', 'a cat', '--max-tokens', 3)
    for model in 'run', 'moe':
        text = run('eval', 'ppl', '--model', model, '--data', 'text.txt')
        take('eval ppl', text)
        path(model + '.jsonl').write_text(text)
    see('eval', 'tasks', '--list')
    for name, text in {
            'rte/val.jsonl': '{"premise": "A cat sat.", "hypothesis": "It sat.", "label": "entailment", "idx": 0}\n',
            'crows_pairs/crows_pairs_anonymized.csv': ',sent_more,sent_less,stereo_antistereo,bias_type\n'
                                                      '0,A cat sat.,A dog sat.,stereo,age\n'}.items():
        path('tasks', name).parent.mkdir(parents=True)
        path('tasks', name).write_text(text)
    see('eval', 'tasks', '--model', 'run', '--data-dir', 'tasks', '--tasks', 'rte', '--details', 'details.jsonl')
    take('eval tasks --details', path('details.jsonl').read_text())
    see('train', 'run.toml', '--run', 'shown', '--set', 'train.samples.every=1', '--set', 'train.samples.prompts=["a"]',
        '--set', 'train.tasks.names=["rte"]', '--set', 'train.tasks.data_dir="tasks"')
    path('tasks/rte/train.jsonl').write_text(path('tasks/rte/val.jsonl').read_text().replace('A cat', 'A dog'))
    rte = '''name = "rte"\nabout = "a"\ncitation = "a"\npublished = "a"\nfolder = "rte"\nevaluate = "v"\nshots = "t"
[[source]]\nformat = "jsonl"\nfiles = { v = "val.jsonl", t = "train.jsonl" }
[paper]\ncontext = "{premise}"\nchoices = ["yes", "no"]\nlabel = "{label}"\nlabels = ["entailment", "not"]\n'''
    path('rte.toml').write_text(rte)
    see('finetune', '--model', 'run', '--task', 'rte.toml', '--data-dir', 'tasks', '--run', 'tuned')
    see('finetune', '--model', 'run', '--task', 'rte.toml', '--data-dir', 'tasks', '--run', 'planned', '--dry-run')
    see('eval', 'bias', '--model', 'run', '--data-dir', 'tasks')
    ids = struct.pack('<4q', 1, 2, 3, 4)
    head = json.dumps({name: {'dtype': 'I64', 'shape': [1, 4], 'data_offsets': [at, at + 32]}
                       for name, at in {'src': 0, 'tgt': 32}.items()}).encode()
    path('ids.safetensors').write_bytes(struct.pack('<Q', len(head)) + head + ids + ids)
    see('score', '--model', 'run', '--tokens', 'ids.safetensors', '--out', 'scores.safetensors')
    path('small.toml').write_text('[model]\nnum_layers = 1\nd_model = 16\nnum_heads = 1\nd_ff = 16\ncontext = 16\n'
                                  '[train]\nbatch_sequences = 4\nprecision = "fp32"\nlog_every = 1\n')
    path('study').mkdir()
    for name, text in {'study.toml': STUDY, 'grid.toml': GRID, 'small.toml': path('small.toml').read_text(), 'pets.toml': PETS,
                       'moe.toml': 'base = "small.toml"\n[model.moe]\nnum_experts = 4\nevery = 1\n',
                       'pets/v.jsonl': '{"q": "The", "a": ["cat", "dog"], "y": 0}\n' * 2}.items():
        path('study', name).parent.mkdir(exist_ok=True)
        path('study', name).write_text(text)
    shutil.copytree(data / 'corpus', 'study/corpus')
    see('study', 'study/study.toml', '--out', 'o')
    see('study', 'study/grid.toml', '--out', 'g')
    take('summary.json', json.dumps(json.loads(path('run/summary.json').read_text())))
    take('history.jsonl', path('run/history.jsonl').read_text())
    see('eval', 'report', 'run.jsonl', 'moe.jsonl', '--out', 'page.html')
    see('report', 'run', 'moe', '--out', 'page.html')
    see('bench', 'adam', '--parameters', 100000, '--seconds', 0)
    see('bench', 'step', 'dense-6x256', '--context', 16, '--sequences', 2, '--micro', 2, '--seconds', 0)
    see('bench', 'tokenizer', '--seconds', 0, '--train-vocab-size', 0, 'text.txt')
    for command, text in commands():
        prints = command[0] not in ('completion', 'man')
        if prints != ('--json ' in text):
            faults.append(f'{" ".join(command)}: expected {"" if prints else "no "}--json in its help')
        for flag in '--threads', '--quiet', '--color':
            if flag not in text:
                faults.append(f'{" ".join(command)}: expected {flag} in its help, as everywhere')

lines = table.read_text().splitlines()
rows = {}
for i, line in enumerate(lines):
    if match := ROW.match(line):
        rows[match.group(1)] = i, match.group(2), match.group(3)
for schema, uses in seen.items():
    if schema not in rows:
        faults.append(f'{table.name}: expected a row of {schema}')
        continue
    at, printed_by, fields = rows[schema]
    optional = lambda name: any(name not in use for use in uses)
    names = list(dict.fromkeys(name for use in uses for name in use))
    if '--write' in sys.argv:
        listed = {name.rstrip('?') for name in fields.replace('`', '').split(', ') if name.endswith('?')}
        rest = [name for name in listed if name not in names]
        spelled = [f'`{name}{"?" if optional(name) or name in listed else ""}`' for name in names + sorted(rest)]
        lines[at] = f'| `{schema}` | {printed_by} | {", ".join(spelled)} |'
        continue
    listed = [name for name in fields.replace('`', '').split(', ') if name]
    must, may = {name for name in listed if not name.endswith('?')}, {name.rstrip('?') for name in listed}
    for use in uses:
        if not must <= set(use) <= may:
            faults.append(f'{table.name}: {schema}: expected what lines have, got missing {must - set(use) or "none"}, '
                          f'unlisted {set(use) - may or "none"}')
            break
if '--write' in sys.argv:
    table.write_text('\n'.join(lines) + '\n')
    faults = [fault for fault in faults if 'unlisted' not in fault]
written = {schema for file in (source / 'src').rglob('*.[ch]*') for schema in re.findall(r'"(troupe\.[a-z_.]+/\d+)"', file.read_text())}
for schema in sorted(written - set(rows)):
    faults.append(f'{table.name}: expected a row of {schema}, which the program writes')
for schema in sorted(set(rows) - written):
    faults.append(f'{table.name}: {schema}: expected a schema that the program writes')
print('\n'.join(faults) or f'{len(seen)} schemas as documented')
sys.exit(bool(faults))
