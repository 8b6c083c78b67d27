#!/usr/bin/env python3
"""Tables of a study of fine-tuning, from the lines that finetune_pair.py wrote:

    finetune_tables.py RESULTS.jsonl

For everything learnt: means over seeds with half their 95 % interval (t), the difference of MoE and dense paired by seed, what
fine-tuning changed of each model's zero-shot figure, and what every setting does beside the default of the same seeds. ** marks an interval that excludes zero; none is
corrected for their number, which is said.
"""
import json
import math
import pathlib
import sys

T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
FAMILIES = ('dense', 'moe')
DEFAULT = 'default'


def interval(values):
    """Mean and half of its 95 % interval; nan with one value."""
    mean, n = sum(values) / len(values), len(values)
    if n < 2:
        return mean, math.nan
    return mean, T_975[n - 1] * math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)


def shown(values, sign=''):
    if not values:
        return ''
    mean, half = interval(values)
    if math.isnan(half):
        return f'{mean:{sign}.4f}'
    marks = '**' if sign and abs(mean) > half else ''
    return f'{marks}{mean:{sign}.4f} ± {half:.4f}{marks}'


def minus(first, second):
    """first - second by seed."""
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


def excludes_zero(values):
    mean, half = interval(values)
    return abs(mean) > half  # never with one: its half is nan


class Study:
    """Of what is learnt: values by family and setting, by seed; zero-shot is the setting ''."""

    def __init__(self, lines):
        self.lines, self.values = lines, {}
        for line in lines:
            of_learnt = self.values.setdefault(line['learnt'], {})
            of_learnt.setdefault((line['family'], line['setting']), {})[line['seed']] = line['value']
            if line['setting'] == DEFAULT:
                of_learnt.setdefault((line['family'], ''), {})[line['seed']] = line['zero_shot']

    def settings(self, learnt):
        """In the order of the lines, the default first."""
        found = dict.fromkeys(line['setting'] for line in self.lines if line['learnt'] == learnt)
        return sorted(found, key=lambda setting: setting != DEFAULT)

    def of(self, learnt, family, setting):
        return self.values.get(learnt, {}).get((family, setting), {})

    def best(self, learnt, family, count, seed=None):
        """Settings that are best in what is reported, by one seed or by the mean over those that have most seeds."""
        lower = any(line['metric'] == 'nll' for line in self.lines if line['learnt'] == learnt)
        known = {setting: found for setting in self.settings(learnt) if (found := self.of(learnt, family, setting))}
        if seed is not None:
            known = {setting: {seed: found[seed]} for setting, found in known.items() if seed in found}
        most = max(map(len, known.values()), default=0)
        means = {setting: sum(found.values()) / len(found) for setting, found in known.items() if len(found) == most}
        return sorted(means, key=lambda setting: means[setting] if lower else -means[setting])[:count]


def tables(study):
    """Lines of text."""
    comparisons = claims = 0

    def compared(first, second):
        """first - second, paired by seed."""
        nonlocal comparisons, claims
        values = list(minus(first, second).values())
        if len(values) > 1:
            comparisons, claims = comparisons + 1, claims + excludes_zero(values)
        return shown(values, '+')

    for learnt in study.values:
        first = next(line for line in study.lines if line['learnt'] == learnt)
        yield f'{first["task"]} ({first["split"]}, chosen by {first["chosen_by"]}, n {first["n"]}, {first["metric"]})'
        yield ''
        yield '| setting | dense | MoE | MoE - dense, paired by seed | seeds |'
        yield '|---|---|---|---|---|'
        rows = [(setting or 'zero-shot', setting, setting) for setting in ['', *study.settings(learnt)]]
        best = [(study.best(learnt, family, 1) or [None])[0] for family in FAMILIES]
        if None not in best:
            rows.append((f'the best of each ({best[0]}; {best[1]})', *best))
        for name, *settings in rows:
            dense, moe = (study.of(learnt, family, setting) for family, setting in zip(FAMILIES, settings))
            yield (f'| {name} | {shown(list(dense.values()))} | {shown(list(moe.values()))} | {compared(moe, dense)} | '
                   f'{len(dense)}, {len(moe)} |')
        yield ''
        yield '| setting - zero-shot | dense | MoE | MoE - dense, paired by seed |'
        yield '|---|---|---|---|'
        for setting in study.settings(learnt):
            dense, moe = (minus(study.of(learnt, family, setting), study.of(learnt, family, '')) for family in FAMILIES)
            yield f'| {setting} | {shown(list(dense.values()), "+")} | {shown(list(moe.values()), "+")} | {compared(moe, dense)} |'
        yield ''
        yield '| setting - default, paired by seed | dense | MoE |'
        yield '|---|---|---|'
        for setting in study.settings(learnt)[1:]:
            cells = [compared(study.of(learnt, family, setting), study.of(learnt, family, DEFAULT)) for family in FAMILIES]
            yield f'| {setting} | {cells[0]} | {cells[1]} |'
        yield ''
    yield f'{comparisons} intervals, {claims} of which exclude zero; by chance about {0.05 * comparisons:.1f} would'


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        print(__doc__, end='', file=sys.stdout if '--help' in sys.argv else sys.stderr)
        sys.exit(0 if '--help' in sys.argv else 2)
    print('\n'.join(tables(Study(read(pathlib.Path(sys.argv[1]))))))
