#!/usr/bin/env python3
"""The study of fine-tuning at our scale (Table 4 of Artetxe et al. 2021): a dense model and its sparse twin learn SST-2 and a
domain, one factor at a time from one default, alike for both where both have it.

    finetune_pair.py TROUPE PAIR TASKS OUT [--text NAME=PATH] [--others TASK,...] [--go] [--minutes M] ...

PAIR is the folder of `troupe study configs/finetune-pair.toml --out PAIR`: seed S goes on from the model of seed S, if there are
several. TASKS is the folder of the tasks' data, --text a domain that no model has read. Says what every training would take; with --go it trains what is not in OUT yet, the defaults with all
seeds first, then every factor with the first seed, then the two best of each model with the other seeds, then --others with the
best of each model (several can work at once, each --only one); --minutes begins no training after so long. Ends with tables of what is in OUT: means, and the difference of
the models paired by seed, with its 95 % interval (t).
"""
import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys
import time

T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
DOMAIN = 'domain'

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('troupe')
for folder in 'pair', 'tasks', 'out':
    parser.add_argument(folder, type=pathlib.Path)
parser.add_argument('--text', help='NAME=PATH of a domain to adapt to')
parser.add_argument('--others', default='', help='tasks to learn with the settings that were best on SST-2')
parser.add_argument('--go', action='store_true'), parser.add_argument('--minutes', type=float, default=math.inf)
parser.add_argument('--only', choices=['dense', 'moe'], help='train one of the models')
parser.add_argument('--epochs', type=int, default=3), parser.add_argument('--batch', type=int, default=16)
parser.add_argument('--lr', type=float, default=1e-4)
parser.add_argument('--seeds', type=int, default=3, choices=range(1, max(T_975) + 2), metavar=f'1..{max(T_975) + 1}')
parser.add_argument('--limit', type=int, default=2000, help='items of a task to train on')
parser.add_argument('--pieces', type=int, default=400, help='pieces of the domain to train on')
parser.add_argument('--held-out', type=int, default=200, help='held-out pieces of the domain that are measured')
flags = parser.parse_args()

both = {
    'default': [],
    'rate x 3': [f'finetune.lr={3 * flags.lr:g}'],
    'rate x 10': [f'finetune.lr={10 * flags.lr:g}'],
    'batch x 4': [f'finetune.batch_sequences={4 * flags.batch}'],
    'only attention': ['finetune.freeze=all_but_attention'],
}
FACTORS = {
    'dense': both,
    'moe': both | {
        'experts frozen': ['finetune.freeze=experts'],
        'router frozen': ['finetune.freeze=router'],
        'only experts': ['finetune.freeze=all_but_experts'],
        'only chosen experts': ['finetune.freeze=all_but_chosen_experts'],
        'expert dropout 0.4': ['model.moe.expert_dropout=0.4'],
        'no balance loss': ['model.moe.aux_loss_weight=0'],
    },
}
SEEDS = range(1, flags.seeds + 1)
end = time.monotonic() + 60 * flags.minutes


def folder_of(learnt, model, factor, seed):
    return flags.out / learnt / model / factor.replace(' ', '-') / f'seed-{seed}'


def result(learnt, model, factor, seed):
    """What `troupe finetune` said in the end; None if it did not get there."""
    file = folder_of(learnt, model, factor, seed) / 'result.json'
    return json.loads(file.read_text()) if file.exists() else None


def train(learnt, model, factor, seed):
    if result(learnt, model, factor, seed) or flags.only not in (None, model) or (flags.go and time.monotonic() > end):
        return
    start = flags.pair / model / f'seed-{seed}' / 'model'
    if not start.exists():
        start = flags.pair / model / 'model'
    run = folder_of(learnt, model, factor, seed)
    settings = [f'finetune.epochs={flags.epochs}', f'finetune.batch_sequences={flags.batch}', f'finetune.lr={flags.lr:g}',
                f'finetune.seeds={seed}', *FACTORS[model][factor]]
    if learnt == DOMAIN:
        settings += [f'finetune.text={flags.text}', f'finetune.train_limit={flags.pieces}', f'finetune.eval_limit={flags.held_out}']
        what = []
    else:
        settings.append(f'finetune.train_limit={flags.limit}')
        what = ['--task', learnt, '--data-dir', flags.tasks]
    command = [flags.troupe, 'finetune', '--model', start, '--run', run, *what, '--quiet']
    for setting in settings:
        command += ['--set', setting]
    if not flags.go:
        print(f'{learnt}, {model}, {factor}, seed {seed}:')
        subprocess.run([*command, '--dry-run'], check=True)
        return
    began = time.monotonic()
    lines = subprocess.run([*command, '--resume', '--json'], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    line = json.loads(lines[-1])
    if line['schema'] != 'troupe.finetune_result/1':
        sys.exit(f'{run}: expected a result, got {line["schema"]}')
    (run / 'result.json').write_text(lines[-1] + '\n')
    for kept in 'checkpoints', 'best', 'model':
        shutil.rmtree(run / kept)
    print(f'{learnt}, {model}, {factor}, seed {seed}: {line["zero_shot"]:.4f} -> {line["value"]:.4f} in '
          f'{time.monotonic() - began:.0f} s', file=sys.stderr)


def best(learnt, model, count):
    """Factors whose first seed is best by what is reported, the best first: validation chooses epochs alone."""
    known = [(found['value'] if found['metric'] == 'nll' else -found['value'], i, factor)
             for i, factor in enumerate(FACTORS[model]) if (found := result(learnt, model, factor, SEEDS[0]))]
    return [factor for _, _, factor in sorted(known)[:count]]


def interval(values):
    """Mean and half of its 95 % interval."""
    mean, n = sum(values) / len(values), len(values)
    if n < 2:
        return mean, math.nan
    return mean, T_975[n - 1] * math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)


def shown(mean, half, sign=''):
    return f'{mean:{sign}.4f}' + ('' if math.isnan(half) else f' ± {half:.4f}')


def table(learnt):
    found = {(model, factor): {seed: line[what] for seed in SEEDS if (line := result(learnt, model, factor or 'default', seed))}
             for model in FACTORS for factor, what in [('', 'zero_shot'), *((factor, 'value') for factor in FACTORS[model])]}
    first = next((line for model in FACTORS for factor in FACTORS[model] if (line := result(learnt, model, factor, SEEDS[0]))), None)
    if not first:
        return
    print(f'\n{first["task"]} ({first["split"]}, chosen by {first["chosen_by"]}, n {first["n"]}, {first["metric"]})\n')
    print('| setting | dense | MoE | MoE - dense, paired by seed |\n|---|---|---|---|')
    rows = [(factor or 'zero-shot', factor, factor) for factor in ['', *FACTORS['moe']]]
    rows.append(('the best of each', *(best(learnt, model, 1)[0] if best(learnt, model, 1) else '' for model in FACTORS)))
    for name, dense, moe in rows:
        values = found.get(('dense', dense), {}), found.get(('moe', moe), {})
        if not any(values):
            continue
        pairs = [values[1][seed] - values[0][seed] for seed in values[0] if seed in values[1]]
        cells = [shown(*interval(list(of_model.values()))) if of_model else '' for of_model in values]
        print(f'| {name} | {cells[0]} | {cells[1]} | {shown(*interval(pairs), "+") if pairs else ""} |')


def main():
    learnt = ['sst2'] + ([DOMAIN] if flags.text else [])
    for what in learnt:
        for model in FACTORS:
            for seed in SEEDS:
                train(what, model, 'default', seed)
    for what in learnt:
        for model in FACTORS:
            for factor in FACTORS[model]:
                train(what, model, factor, SEEDS[0])
    for what in learnt:
        for model in FACTORS:
            for factor in best(what, model, 2):
                for seed in SEEDS:
                    train(what, model, factor, seed)
    others = [task for task in flags.others.split(',') if task]
    for what in others:
        for model in FACTORS:
            for seed in SEEDS:
                for factor in best('sst2', model, 1) or ['default']:
                    train(what, model, factor, seed)
    for what in learnt + others:
        table(what)


main()
