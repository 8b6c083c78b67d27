#!/usr/bin/env python3
"""`troupe finetune` on SST-2 beside transformers: the same sentences in the paper's form, in the same order and batches.

    finetune.py TROUPE MODEL SST2_FOLDER [--texts 2000] [--epochs 3] [--batch 16] [--eval 0] [--precision fp32 bf16] ...

MODEL is a Hugging Face directory of a family that troupe reads. Both train everything with Adam (AdamW's form, without decay),
no dropout and a constant rate; in bf16 transformers computes under autocast. They take turns of --turn updates, in which the
other stands still, so that both see the same load of the machine, with the same number of threads. Compared: losses of all
updates, predictions of the validation sentences before and after, and seconds of the updates, by the clock and of processors.
What --minutes end is compared at the last update of both. Both are in memory at once: SmolLM2-135M takes 7.3 GB.
Ends with 1 if in float32 a loss of the first five updates differs by more than 1e-3 of it (Adam makes rounding of small
gradients large) or more than 2 % of the predictions do. Needs torch and transformers.
"""
import argparse
import atexit
import csv
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MASK = (1 << 64) - 1


def mix_key(a, b):
    z = (a + 0x9E3779B97F4A7C15 * (b + 1)) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def philox(key, counter, stream):
    low = 0xFFFFFFFF
    x, k = [counter & low, counter >> 32, stream & low, stream >> 32], [key & low, key >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(p1 >> 32) ^ x[1] ^ k[0], p1 & low, (p0 >> 32) ^ x[3] ^ k[1], p0 & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return x[0]


def order(n, seed, epoch):
    """That of troupe's texts: src/train/packed_texts.cpp, src/data/loader/permutation.h."""
    key = mix_key(mix_key(mix_key(seed, 0x74657874), 0), epoch)
    half = ((n - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1

    def encrypt(x):
        left, right = x >> half, x & mask
        for i in range(6):
            left, right = right, left ^ (philox(key, right, i) & mask)
        return left << half | right

    for i in range(n):
        i = encrypt(i)
        while i >= n:
            i = encrypt(i)
        yield i


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('troupe'), parser.add_argument('model'), parser.add_argument('data', type=pathlib.Path)
parser.add_argument('--texts', type=int, default=2000), parser.add_argument('--epochs', type=int, default=3)
parser.add_argument('--batch', type=int, default=16), parser.add_argument('--lr', type=float, default=2e-5)
parser.add_argument('--eval', type=int, default=0, help='validation sentences; 0: all')
parser.add_argument('--only-after', action='store_true', help='no predictions before the training')
parser.add_argument('--precision', nargs='+', default=['fp32', 'bf16'], choices=['fp32', 'bf16'])
parser.add_argument('--turn', type=int, default=5, help='updates before the other has its turn')
parser.add_argument('--threads', type=int, default=os.cpu_count())
parser.add_argument('--minutes', type=float, default=0, help='of the turns of a precision: then it ends early; 0: no limit')
flags = parser.parse_args()
CHOICES = 'bad', 'good'


def rows(name, count):
    with open(flags.data / name, newline='') as file:
        return list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))[:count or None]


class Troupe:
    """One training as a process that stands still between its turns."""

    def __init__(self, folder, precision):
        self.folder, self.precision = folder, precision
        (folder / 'data').mkdir()
        (folder / 'data' / 'sst2').symlink_to(flags.data.resolve())
        self.losses, self.seconds, self.cpu_seconds, self.stopped_at = [], 0.0, 0.0, None
        command = [flags.troupe, 'finetune', '--model', flags.model, '--task', 'sst2', '--data-dir', folder / 'data',
                   '--run', folder / 'run', '--json', '--quiet', '--ignore-memory', '--threads', str(flags.threads)]
        for setting in (f'finetune.train_limit={flags.texts}', f'finetune.batch_sequences={flags.batch}',
                        f'finetune.epochs={flags.epochs}', f'finetune.lr={flags.lr}', 'finetune.eval_limit=1',
                        'train.schedule.kind=constant', 'train.schedule.warmup_fraction=0', 'train.adam.form=usual',
                        'model.dropout=0', f'train.precision={precision}', 'train.log_every=1',
                        'train.checkpoint_every=0'):
            command += ['--set', setting]
        self.before = [] if flags.only_after else self.predicted(flags.model)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = map(json.loads, self.process.stdout)
        self.time_s = 0.0
        next(line for line in self.lines if line['schema'] == 'troupe.finetune/1')  # what the model scored before
        self.stop()

    def cpu(self):
        fields = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        self.stopped_at = time.monotonic()

    def go_on(self):
        """Lines of updates, whose seconds are counted, as long as the caller takes them."""
        pause, cpu = time.monotonic() - self.stopped_at, self.cpu()
        self.process.send_signal(signal.SIGCONT)
        for line in self.lines:
            if line['schema'] != 'troupe.train/1':
                continue
            update, self.time_s = line['time_s'] - self.time_s, line['time_s']
            self.seconds += update - pause if update > pause else update  # a pause in an update, or between two
            self.losses.append(line['loss'])
            self.cpu_seconds, cpu = self.cpu_seconds + self.cpu() - cpu, self.cpu()
            yield

    def train(self, updates):
        for _ in itertools.islice(self.go_on(), updates):
            pass
        self.stop()

    def after(self, unfinished):
        if unfinished:
            self.process.send_signal(signal.SIGINT)  # it ends the update that it stands in, and writes a checkpoint
        for _ in self.go_on():
            pass
        if self.process.wait() != (130 if unfinished else 0):
            sys.exit(f'{flags.troupe} finetune ended with {self.process.returncode}')
        return self.predicted(sorted((self.folder / 'run' / 'checkpoints').glob('step-*'))[-1])

    def predicted(self, model):
        details = self.folder / 'details.jsonl'
        subprocess.run([flags.troupe, 'eval', 'tasks', '--model', model, '--tasks', 'sst2',
                        '--data-dir', self.folder / 'data', '--convention', 'paper', '--precision', self.precision,
                        '--details', details, '--quiet', '--json', '--threads', str(flags.threads),
                        *(['--limit', str(flags.eval)] if flags.eval else [])], check=True, stdout=subprocess.DEVNULL)
        with open(details) as file:
            return [CHOICES.index(line['continuation'].strip()) for line in map(json.loads, file) if line['chosen']]


class Transformers:
    def __init__(self, precision):
        self.precision = precision
        self.tokenizer = AutoTokenizer.from_pretrained(flags.model)
        self.model = AutoModelForCausalLM.from_pretrained(flags.model, dtype=torch.float32)
        self.end_of_text = self.model.config.eos_token_id
        self.before = [] if flags.only_after else self.predicted()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=flags.lr, betas=(0.9, 0.98), eps=1e-6,
                                           weight_decay=0.0)
        self.model.train()
        texts = [row['sentence'].strip() + ' . All in all, it was ' + CHOICES[int(row['label'])]
                 for row in rows('train.tsv', flags.texts)]
        self.batches = []
        for epoch in range(flags.epochs):
            of_epoch = [texts[i] for i in order(len(texts), 1, epoch)]
            self.batches += [of_epoch[i:i + flags.batch] for i in range(0, len(texts), flags.batch)]
        self.losses, self.seconds, self.cpu_seconds = [], 0.0, 0.0

    def losses_of(self, texts):
        ids = [[self.end_of_text, *self.tokenizer(text, add_special_tokens=False)['input_ids']] for text in texts]
        padded = torch.full((len(ids), max(map(len, ids))), self.end_of_text)
        mask, at = torch.zeros_like(padded), torch.tensor([len(row) - 2 for row in ids])
        for i, row in enumerate(ids):
            padded[i, :len(row)], mask[i, :len(row)] = torch.tensor(row), 1
        with torch.autocast('cpu', torch.bfloat16, enabled=self.precision == 'bf16'):
            hidden = self.model.model(input_ids=padded, attention_mask=mask).last_hidden_state
            logits = self.model.lm_head(hidden[torch.arange(len(ids)), at]).float()  # where an answer is predicted
        return torch.nn.functional.cross_entropy(logits, torch.tensor([row[-1] for row in ids]), reduction='none')

    def predicted(self):
        self.model.eval()
        prompts = [row['sentence'].strip() + ' . All in all, it was' for row in rows('dev.tsv', flags.eval)]
        with torch.inference_mode():
            each = [torch.cat([self.losses_of([f'{prompt} {answer}' for prompt in prompts[i:i + 32]])
                               for i in range(0, len(prompts), 32)]) for answer in CHOICES]
        return (each[1] < each[0]).int().tolist()

    def train(self, updates):
        begin, cpu = time.monotonic(), time.process_time()
        for _ in range(updates):
            loss = self.losses_of(self.batches[len(self.losses)]).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
        self.seconds += time.monotonic() - begin
        self.cpu_seconds += time.process_time() - cpu


def compare(precision):
    """Whether they are as far apart as rounding allows; prints how far."""
    peer = Transformers(precision)
    with tempfile.TemporaryDirectory() as folder:
        ours = Troupe(pathlib.Path(folder), precision)
        atexit.register(ours.process.kill)  # or it would stand still for ever
        begin = time.monotonic()
        while len(peer.losses) < len(peer.batches) and not 0 < flags.minutes < (time.monotonic() - begin) / 60:
            updates = min(flags.turn, len(peer.batches) - len(peer.losses))
            for program in ours, peer:
                program.train(updates)
            print(f'update {len(peer.losses)}: loss {ours.losses[-1]:.6f}, transformers {peer.losses[-1]:.6f}; '
                  f'{ours.seconds:.1f} s, transformers {peer.seconds:.1f} s', file=sys.stderr, flush=True)
        after = ours.after(unfinished=len(peer.losses) < len(peer.batches))
        peer.train(len(ours.losses) - len(peer.losses))
        predictions = (ours.before, peer.before), (after, peer.predicted())
    gold = [int(row['label']) for row in rows('dev.tsv', flags.eval)]
    updates = len(ours.losses)
    for step in sorted({*range(min(10, updates)), *range(0, updates, max(1, updates // 10)), updates - 1}):
        print(f'update {step + 1}: loss {ours.losses[step]:.6f}, transformers {peer.losses[step]:.6f}, '
              f'{abs(ours.losses[step] - peer.losses[step]) / peer.losses[step]:.1e} of it apart')
    same = all(abs(a - b) <= 1e-3 * b for a, b in zip(ours.losses[:5], peer.losses[:5]))
    for when, (a, b) in list(zip(('before', 'after'), predictions))[flags.only_after:]:
        different = sum(x != y for x, y in zip(a, b))
        same &= len(a) == len(b) == len(gold) and different <= 0.02 * len(gold)
        right = [sum(x == y for x, y in zip(of, gold)) for of in (a, b)]
        print(f'{when}: right {right[0]} of {len(gold)}, transformers {right[1]}; {different} predictions differ')
    for what, a, b in ('s', ours.seconds, peer.seconds), ('s of processors', ours.cpu_seconds, peer.cpu_seconds):
        print(f'{updates} updates of {flags.batch} texts, {precision}, {flags.threads} threads: {a:.1f} {what}, '
              f'transformers {b:.1f}, ratio {a / b:.2f}', flush=True)
    return same


def main():
    torch.set_num_threads(flags.threads)
    same = {precision: compare(precision) for precision in flags.precision}
    sys.exit(not same.get('fp32', True))


main()
