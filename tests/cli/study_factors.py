#!/usr/bin/env python3
"""Computes every factor, interval and fit of a study again, from its tables alone.

    study_factors.py OUT BASELINE

From docs/study.md and not from the program's sources: factors and fits to 1e-9, intervals by a bootstrap of other random
numbers, to a share of their width.
"""
import collections
import csv
import io
import math
import pathlib
import random
import sys

import zst

out, baseline = pathlib.Path(sys.argv[1]), sys.argv[2]
REPLICATES = 2000
rows = list(csv.DictReader(open(out / 'points.csv')))
documents = collections.defaultdict(list)  # (run, domain) -> [(nll, tokens)]
for row in csv.DictReader(io.StringIO(zst.read(out / 'documents.csv.zst'))):
    documents[row['run'], row['domain']].append((float(row['nll']), int(row['tokens'])))

# Points: seeds averaged, runs that diverged left out.
points = {}  # name -> family, first run, costs, nll by domain, residuals by domain
by_point = collections.defaultdict(dict)
for row in rows:
    if row['status'] == 'ok':
        by_point[row['run'].rsplit('/', 2)[0]].setdefault(row['run'], {})[row['domain']] = row
sides = {row['domain']: row['held_out'] == '1' for row in rows}
domains = [d for d in sides if d not in ('mean_in', 'mean_out')]
means = {m: [d for d in domains if sides[d] == (m == 'mean_out')] for m in ('mean_in', 'mean_out') if m in sides}
for name, runs in by_point.items():
    first = next(iter(runs.values()))['mean_in']
    nll = {d: sum(float(own[d]['nll']) for own in runs.values()) / len(runs) for d in sides}
    points[name] = {
        'family': first['family'], 'budget': name.split('/')[2], 'run': first['run'], 'runs': list(runs), 'nll': nll,
        'cost': {m: float(first[m]) if first[m] else None for m in ('train_flops', 'seconds', 'memory_bytes')},
        'residuals': {d: [float(own[d]['nll']) - nll[d] for own in runs.values()] for d in sides} if len(runs) >= 3 else None}


def frontier(names, measure, nll):
    kept = []
    for name in sorted(names, key=lambda n: (points[n]['cost'][measure], nll[n])):
        if not kept or nll[name] < nll[kept[-1]]:
            kept.append(name)
    return kept


def cost_at(line, measure, nll, target):
    for low, high in zip(line, line[1:]):
        if nll[low] >= target >= nll[high]:
            r = (target - nll[low]) / (nll[high] - nll[low])
            a, b = points[low]['cost'][measure], points[high]['cost'][measure]
            return math.exp(math.log(a) + r * (math.log(b) - math.log(a))), low, high
    for name in line:
        if nll[name] == target:
            return points[name]['cost'][measure], name, name
    return None


# Replicates of every point's nll, by domain.
random.seed(1)
replicates = {d: [{} for _ in range(REPLICATES)] for d in sides}
for domain in domains:
    units = len(documents[next(iter(points.values()))['run'], domain])
    for replicate in replicates[domain]:
        drawn = random.choices(range(units), k=units)
        for name, point in points.items():
            values = []
            for run in point['runs']:
                own = documents[run, domain]
                values.append(sum(own[u][0] for u in drawn) / sum(own[u][1] for u in drawn))
            replicate[name] = sum(values) / len(values)
for mean, of in means.items():
    for r, replicate in enumerate(replicates[mean]):
        for name in points:
            replicate[name] = sum(replicates[d][r][name] for d in of) / len(of)
for domain in sides:
    for name, point in points.items():
        pool = [x for p in points.values() if p['family'] == point['family'] and p['residuals'] for x in p['residuals'][domain]]
        if pool:
            for replicate in replicates[domain]:
                replicate[name] += random.choice(pool)

expected = {}
budgets = {p['budget'] for p in points.values()}
for domain in sides:
    nll = {name: p['nll'][domain] for name, p in points.items()}
    for measure in ('train_flops', 'seconds', 'memory_bytes'):
        for form, budget in [('frontier', None)] + [('fixed_tokens', b) for b in budgets]:
            select = lambda family: [n for n, p in points.items() if p['family'] == family and p['cost'][measure] is not None
                                     and budget in (None, p['budget'])]
            line = frontier(select(baseline), measure, nll)
            for family in {p['family'] for p in points.values()} - {baseline}:
                for name in frontier(select(family), measure, nll):
                    found = cost_at(line, measure, nll, nll[name])
                    if not found:
                        continue
                    own, factors = points[name]['cost'][measure], []
                    for replicate in replicates[domain]:
                        again = cost_at(frontier(select(baseline), measure, replicate), measure, replicate, replicate[name])
                        if again:
                            factors.append(again[0] / own)
                    factors.sort()
                    quantile = lambda p: factors[round(p * (len(factors) - 1))] if factors else None
                    key = form, domain, family, measure, points[name]['run']
                    expected[key] = nll[name], found[0], own, points[found[1]]['run'], points[found[2]]['run'], quantile(
                        0.025), quantile(0.975), len(factors)

got = list(csv.DictReader(open(out / 'factors.csv')))
assert list(got[0]) == ['form', 'domain', 'held_out', 'family', 'baseline', 'measure', 'target', 'baseline_cost',
                        'family_cost', 'factor', 'low', 'high', 'baseline_below', 'baseline_above', 'family_below',
                        'family_above'], list(got[0])
assert len(got) == len(expected), (len(got), len(expected))
for row in got:
    assert row['baseline'] == baseline and (row['held_out'] == '1') == sides[row['domain']]
    assert row['family_below'] == row['family_above']
    target, base, own, below, above, low, high, present = expected[row['form'], row['domain'], row['family'],
                                                                  row['measure'], row['family_below']]
    for name, value in (('target', target), ('baseline_cost', base), ('family_cost', own), ('factor', base / own)):
        assert math.isclose(float(row[name]), value, rel_tol=1e-9), (name, row, value)
    assert (row['baseline_below'], row['baseline_above']) == (below, above), (row, below, above)
    if present > REPLICATES / 2:
        width = math.log(high / low)
        for name, value in (('low', low), ('high', high)):
            assert abs(math.log(float(row[name]) / value)) <= 0.15 * width + 1e-9, (name, row, value)

fits = list(csv.DictReader(open(out / 'fits.csv')))
for row in fits:
    nll = {name: p['nll'][row['domain']] for name, p in points.items()}
    line = frontier([n for n, p in points.items() if p['family'] == row['family']], 'train_flops', nll)
    x = [math.log(points[n]['cost']['train_flops']) for n in line]
    y = [math.log(nll[n]) for n in line]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)
    assert int(row['points']) == len(line) and math.isclose(float(row['exponent']), slope, rel_tol=1e-9), row
    errors = [nll[n] - float(row['coefficient']) * points[n]['cost']['train_flops'] ** slope for n in line]
    assert math.isclose(float(row['worst']), max(map(abs, errors)), rel_tol=1e-6, abs_tol=1e-12), (row, errors)
print(f'{len(got)} factors, {sum(r["form"] == "frontier" for r in got)} of frontiers, {len(fits)} fits')
