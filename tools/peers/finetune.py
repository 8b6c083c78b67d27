#!/usr/bin/env python3
"""`troupe finetune` on SST-2 beside transformers: the same sentences in the paper's form, in the same order and batches.

    finetune.py TROUPE MODEL SST2_FOLDER [--texts 2000] [--epochs 3] [--batch 16] [--eval 0] [--precision fp32] ...

MODEL is a Hugging Face directory of a family that troupe reads. Both train everything with Adam (AdamW's form, without decay),
no dropout and a constant rate; in bf16 transformers computes under autocast. Compared: losses of all updates, predictions of
the validation sentences before and after, and seconds of the updates. Ends with 1 in float32 if a loss of the first five
updates differs by more than 1e-3 of it (Adam makes rounding of small gradients large), or more than 2 % of the predictions do. Needs torch and transformers.
"""
import argparse
import csv
import json
import pathlib
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
parser.add_argument('--precision', default='fp32', choices=['fp32', 'bf16'])
flags = parser.parse_args()
CHOICES = 'bad', 'good'


def rows(name, count):
    with open(flags.data / name, newline='') as file:
        return list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))[:count or None]


def by_troupe(folder):
    """Losses, seconds of the updates, and what was predicted before and after."""
    (folder / 'data').mkdir()
    (folder / 'data' / 'sst2').symlink_to(flags.data.resolve())
    command = [flags.troupe, 'finetune', '--model', flags.model, '--task', 'sst2', '--data-dir', folder / 'data', '--run',
               folder / 'run', '--json', '--quiet', '--ignore-memory']
    for setting in (f'finetune.train_limit={flags.texts}', f'finetune.batch_sequences={flags.batch}',
                    f'finetune.epochs={flags.epochs}', f'finetune.lr={flags.lr}', 'finetune.eval_limit=1',
                    'train.schedule.kind=constant', 'train.schedule.warmup_fraction=0', 'train.adam.form=usual',
                    'model.dropout=0', f'train.precision={flags.precision}', 'train.log_every=1', 'train.checkpoint_every=0'):
        command += ['--set', setting]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    steps = [line for line in map(json.loads, out.splitlines()) if line['schema'] == 'troupe.train/1']
    last = sorted((folder / 'run' / 'checkpoints').glob('step-*'))[-1]

    def predicted(model):
        details = folder / 'details.jsonl'
        subprocess.run([flags.troupe, 'eval', 'tasks', '--model', model, '--tasks', 'sst2', '--data-dir', folder / 'data',
                        '--convention', 'paper', '--precision', flags.precision, '--details', details, '--quiet', '--json',
                        *(['--limit', str(flags.eval)] if flags.eval else [])], check=True, stdout=subprocess.DEVNULL)
        with open(details) as file:
            return [CHOICES.index(line['continuation'].strip()) for line in map(json.loads, file) if line['chosen']]

    return [line['loss'] for line in steps], steps[-1]['time_s'], [predicted(model) for model in (flags.model, last)]


class Transformers:
    def __init__(self):
        self.tokenizer = AutoTokenizer.from_pretrained(flags.model)
        self.model = AutoModelForCausalLM.from_pretrained(flags.model, dtype=torch.float32)
        self.end_of_text = self.model.config.eos_token_id

    def losses(self, texts):
        ids = [[self.end_of_text, *self.tokenizer(text, add_special_tokens=False)['input_ids']] for text in texts]
        padded = torch.full((len(ids), max(map(len, ids))), self.end_of_text)
        mask, at = torch.zeros_like(padded), torch.tensor([len(row) - 2 for row in ids])
        for i, row in enumerate(ids):
            padded[i, :len(row)], mask[i, :len(row)] = torch.tensor(row), 1
        with torch.autocast('cpu', torch.bfloat16, enabled=flags.precision == 'bf16'):
            hidden = self.model.model(input_ids=padded, attention_mask=mask).last_hidden_state
            logits = self.model.lm_head(hidden[torch.arange(len(ids)), at]).float()  # where an answer is predicted
        return torch.nn.functional.cross_entropy(logits, torch.tensor([row[-1] for row in ids]), reduction='none')

    def predicted(self):
        self.model.eval()
        prompts = [row['sentence'].strip() + ' . All in all, it was' for row in rows('dev.tsv', flags.eval)]
        with torch.inference_mode():
            each = [torch.cat([self.losses([f'{prompt} {answer}' for prompt in prompts[i:i + 32]])
                               for i in range(0, len(prompts), 32)]) for answer in CHOICES]
        return (each[1] < each[0]).int().tolist()

    def train(self):
        self.model.train()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=flags.lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0)
        texts = [row['sentence'].strip() + ' . All in all, it was ' + CHOICES[int(row['label'])]
                 for row in rows('train.tsv', flags.texts)]
        found, begin = [], time.time()
        for epoch in range(flags.epochs):
            of_epoch = [texts[i] for i in order(len(texts), 1, epoch)]
            for i in range(0, len(texts), flags.batch):
                loss = self.losses(of_epoch[i:i + flags.batch]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                found.append(loss.item())
        return found, time.time() - begin


def main():
    with tempfile.TemporaryDirectory() as folder:
        ours, seconds, predictions = by_troupe(pathlib.Path(folder))
    peer = Transformers()
    before = peer.predicted()
    theirs, their_seconds = peer.train()
    after = peer.predicted()
    gold = [int(row['label']) for row in rows('dev.tsv', flags.eval)]
    for step in sorted({*range(min(10, len(ours))), *range(0, len(ours), max(1, len(ours) // 10)), len(ours) - 1}):
        print(f'update {step + 1}: loss {ours[step]:.6f}, transformers {theirs[step]:.6f}, '
              f'{abs(ours[step] - theirs[step]) / theirs[step]:.1e} of it apart')
    wrong = len(ours) != len(theirs) or any(abs(a - b) > 1e-3 * b for a, b in zip(ours[:5], theirs[:5]))
    for when, a, b in ('before', predictions[0], before), ('after', predictions[1], after):
        different = sum(x != y for x, y in zip(a, b))
        wrong |= len(a) != len(b) or different > 0.02 * len(gold)
        right = [sum(x == y for x, y in zip(of, gold)) for of in (a, b)]
        print(f'{when}: right {right[0]} of {len(gold)}, transformers {right[1]}; {different} predictions differ')
    print(f'{len(ours)} updates of {flags.batch} texts, {flags.precision}: {seconds:.1f} s, transformers '
          f'{their_seconds:.1f} s, ratio {seconds / their_seconds:.2f}')
    sys.exit(wrong and flags.precision == 'fp32')


main()
