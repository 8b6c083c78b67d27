#!/usr/bin/env python3
"""Computes every factor, interval, fit and mean of a study with a grid again, from its CSV files alone.

    study_check.py OUT [--replicates N]

Written from docs/study.md and not from the program's sources: points, brackets, factors and fits must agree to 1e-9,
intervals come from a bootstrap with other random numbers and must agree to a share of their width (in logarithms) that
replicates leave open. Exit code 1 and a line for whatever does not agree. numpy makes it fast; without it tables of
tasks with more than 2,000 items are checked without intervals, and it says so.
"""
import argparse
import collections
import csv
import ctypes
import io
import math
import pathlib
import random
import sys

try:
    import numpy
except ImportError:
    numpy = None

MEASURES = 'train_flops', 'seconds', 'memory_bytes'
faults = []


def zstd(path):
    """Text of a zstd file, by the library that the program needs too."""
    packed = path.read_bytes()
    library = ctypes.CDLL('libzstd.so.1')
    library.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    library.ZSTD_decompress.restype = ctypes.c_size_t
    size = library.ZSTD_getFrameContentSize(packed, ctypes.c_size_t(len(packed)))
    text = ctypes.create_string_buffer(size + 1)
    got = library.ZSTD_decompress(text, ctypes.c_size_t(size), packed, ctypes.c_size_t(len(packed)))
    if got != size:
        sys.exit(f'{path}: expected a whole zstd file, got {got} of {size} bytes')
    return text.raw[:size].decode()


def table(path):
    if not path.is_file():
        sys.exit(f'{path}: expected a table of a study, got no such file')
    csv.field_size_limit(1 << 30)
    return list(csv.DictReader(io.StringIO(zstd(path) if path.suffix == '.zst' else path.read_text())))


def expect(true, what):
    if not true:
        faults.append(what)


def close(got, expected, tolerance=1e-9):
    return math.isclose(float(got), expected, rel_tol=tolerance, abs_tol=1e-12)


def draw_sums(units, values, replicates):
    """For each list of `values` (one a unit), its sums over units drawn with replacement, the same for all lists."""
    if numpy is not None:
        generator, matrix = numpy.random.default_rng(1), numpy.array(values, dtype=float).T
        sums = []
        for begin in range(0, replicates, 100):
            counts = numpy.stack([numpy.bincount(generator.integers(0, units, units), minlength=units)
                                  for _ in range(min(100, replicates - begin))])
            sums.append(counts @ matrix)
        return numpy.concatenate(sums).T.tolist()
    sums = [[] for _ in values]
    for _ in range(replicates):
        drawn = random.choices(range(units), k=units)
        for own, of in zip(values, sums):
            of.append(sum(own[u] for u in drawn))
    return sums


class Study:
    """Points with their losses by text, replicates of these, and the factors that follow.

    runs: run -> {'point', 'family', 'budget', 'cost': {measure: number or None}} in the order of the tables
    loss: text -> run -> number; units: text -> run -> [(loss, weight)]; means: name -> texts
    """

    def __init__(self, runs, loss, units, means, baseline, replicates):
        self.baseline = baseline
        self.texts = list(loss) + list(means)
        loss = dict(loss)
        for name, of in means.items():
            loss[name] = {run: sum(loss[text][run] for text in of) / len(of) for run in runs}
        by_point = collections.defaultdict(list)
        for run, facts in runs.items():
            by_point[facts['point']].append(run)
        self.points = {}
        for point, own in by_point.items():
            at = {text: sum(loss[text][run] / len(own) for run in own) for text in self.texts}
            away = {text: [loss[text][run] - at[text] for run in own] for text in self.texts} if len(own) >= 3 else None
            self.points[point] = dict(runs[own[0]], run=own[0], runs=own, loss=at, residuals=away)
        self.replicates = self.draw(runs, units, means, replicates) if units is not None else None

    def draw(self, runs, units, means, replicates):
        drawn = {}
        for text, by_run in units.items():
            some = next(iter(by_run.values()))
            weights = draw_sums(len(some), [[w for _, w in some]] + [[x for x, _ in by_run[run]] for run in runs], replicates)
            own = dict(zip(runs, weights[1:]))
            drawn[text] = {name: [sum(own[run][r] for run in point['runs']) / len(point['runs']) / weights[0][r]
                                  for r in range(replicates)] for name, point in self.points.items()}
        for mean, of in means.items():
            drawn[mean] = {name: [sum(values) / len(of) for values in zip(*(drawn[text][name] for text in of))]
                           for name in self.points}
        random.seed(2)
        pools = collections.defaultdict(list)  # of a family: residuals of one seed, for all texts
        for point in self.points.values():
            if point['residuals']:
                for s in range(len(point['runs'])):
                    pools[point['family']].append({text: point['residuals'][text][s] for text in self.texts})
        for name, point in self.points.items():
            if pool := pools[point['family']]:
                for r in range(replicates):
                    seed = random.choice(pool)
                    for text in self.texts:
                        drawn[text][name][r] += seed[text]
        return drawn

    def frontier(self, names, measure, loss):
        line = []
        for name in sorted(names, key=lambda n: (self.points[n]['cost'][measure], loss[n])):
            if not line or loss[name] < loss[line[-1]]:
                line.append(name)
        return line

    def cost_at(self, line, measure, loss, target):
        for i, high in enumerate(line):
            if loss[high] == target:
                return self.points[high]['cost'][measure], high, high
            if loss[high] < target:
                if i == 0:
                    return None
                low = line[i - 1]
                r = (target - loss[low]) / (loss[high] - loss[low])
                a, b = (math.log(self.points[n]['cost'][measure]) for n in (low, high))
                return math.exp(a + r * (b - a)), low, high
        return None

    def select(self, family, measure, budget):
        return [n for n, p in self.points.items()
                if p['family'] == family and p['cost'][measure] is not None and budget in (None, p['budget'])]

    def factors(self):
        found = {}
        budgets = {p['budget'] for p in self.points.values()}
        families = {p['family'] for p in self.points.values()} - {self.baseline}
        for text in self.texts:
            loss = {name: point['loss'][text] for name, point in self.points.items()}
            for measure in MEASURES:
                for form, budget in [('frontier', None)] + [('fixed_tokens', b) for b in budgets]:
                    base = self.select(self.baseline, measure, budget)
                    line = self.frontier(base, measure, loss)
                    again = []
                    if self.replicates and base:
                        own = self.replicates[text]
                        for r in range(len(next(iter(own.values())))):
                            now = {name: own[name][r] for name in self.points}
                            again.append((self.frontier(base, measure, now), now))
                    for family in families:
                        for name in self.frontier(self.select(family, measure, budget), measure, loss):
                            if not (reached := self.cost_at(line, measure, loss, loss[name])):
                                continue
                            cost = self.points[name]['cost'][measure]
                            many = [at[0] / cost for base_line, now in again
                                    if (at := self.cost_at(base_line, measure, now, now[name]))]
                            found[form, text, family, measure, self.points[name]['run']] = dict(
                                target=loss[name], baseline_cost=reached[0], family_cost=cost, factor=reached[0] / cost,
                                baseline_below=self.points[reached[1]]['run'], baseline_above=self.points[reached[2]]['run'],
                                many=sorted(many), of=len(again))
        return found


def quantile(values, p):
    at = p * (len(values) - 1)
    below = math.floor(at)
    return values[below] + (at - below) * (values[min(below + 1, len(values) - 1)] - values[below])


def check_factors(file, rows, text_column, study, target_of):
    expected, baseline = study.factors(), study.baseline
    keys = set()
    worst = 0.0
    for row in rows:
        key = row['form'], row[text_column], row['family'], row['measure'], row['family_below']
        keys.add(key)
        if key not in expected:
            faults.append(f'{file}: {key}: expected no such factor')
            continue
        own = expected[key]
        expect(row['baseline'] == baseline, f'{file}: {key}: baseline: expected {baseline}, got {row["baseline"]}')
        expect(row['family_above'] == row['family_below'], f'{file}: {key}: family_above: expected family_below')
        for name in 'target', 'baseline_cost', 'family_cost', 'factor':
            value = target_of(own['target']) if name == 'target' else own[name]
            expect(close(row[name], value), f'{file}: {key}: {name}: expected {value}, got {row[name]}')
        for name in 'baseline_below', 'baseline_above':
            expect(row[name] == own[name], f'{file}: {key}: {name}: expected {own[name]}, got {row[name]}')
        # Quantiles of two samples differ most where few replicates are left, and by steps where losses are shares.
        if len(own['many']) > own['of'] / 2 and row['low']:
            low, high = quantile(own['many'], 0.025), quantile(own['many'], 0.975)
            width = math.log(high / low)
            for name, p, value in ('low', 0.025, low), ('high', 0.975, high):
                near = [math.log(quantile(own['many'], q)) for q in (max(0, p - 0.01), min(1, p + 0.01))]
                got, slack = math.log(float(row[name])), 0.15 * width + 1e-9
                worst = max(worst, min(abs(got - math.log(value)) / width if width > 0 else 0.0, 9.99))
                expect(near[0] - slack <= got <= near[1] + slack,
                       f'{file}: {key}: {name}: expected {value:.6g} or nearly, got {row[name]}')
    for key in expected.keys() - keys:
        faults.append(f'{file}: {key}: expected this factor, got none')
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=pathlib.Path)
    parser.add_argument('--replicates', type=int, default=2000)
    flags = parser.parse_args()
    out = flags.out
    random.seed(1)
    rows = table(out / 'points.csv')
    factors = table(out / 'factors.csv')
    ok = [row for row in rows if row['status'] == 'ok']
    baseline = factors[0]['baseline'] if factors else (rows[0]['family'] if rows else '')
    sides = {row['domain']: row['held_out'] == '1' for row in rows}
    texts = [d for d in sides if d not in ('mean_in', 'mean_out')]
    means = {m: [d for d in texts if sides[d] == (m == 'mean_out')] for m in ('mean_in', 'mean_out') if m in sides}
    runs, loss = {}, {text: {} for text in texts}
    for row in ok:
        run = row['run']
        runs.setdefault(run, dict(point=run.rsplit('/', 2)[0], family=row['family'], budget=run.split('/')[2],
                                  cost={m: float(row[m]) if row[m] else None for m in MEASURES}))
        if row['domain'] in loss:
            loss[row['domain']][run] = float(row['nll'])
    units = {text: collections.defaultdict(list) for text in texts}
    for row in table(out / 'documents.csv.zst'):
        if row['run'] in runs:
            units[row['domain']][row['run']].append((float(row['nll']), int(row['tokens'])))
    for row in ok:  # points.csv follows from the documents
        run, domain = row['run'], row['domain']
        if domain in means:
            value = sum(loss[d][run] for d in means[domain]) / len(means[domain])
        else:
            own = units[domain][run]
            value = sum(x for x, _ in own) / sum(n for _, n in own)
            expect(int(row['documents']) == len(own), f'points.csv: {run}: {domain}: documents: expected {len(own)}')
        expect(close(row['nll'], value), f'points.csv: {run}: {domain}: nll: expected {value}, got {row["nll"]}')
    worst, fits, tasks = 0.0, [], []
    if runs:
        study = Study(runs, loss, units, means, baseline, flags.replicates)
        worst = check_factors('factors.csv', factors, 'domain', study, lambda nll: nll)
        fits = table(out / 'fits.csv')
        for row in fits:
            nll = {name: p['loss'][row['domain']] for name, p in study.points.items()}
            line = study.frontier(study.select(row['family'], 'train_flops', None), 'train_flops', nll)
            x = [math.log(study.points[n]['cost']['train_flops']) for n in line]
            y = [math.log(nll[n]) for n in line]
            mx, my = sum(x) / len(x), sum(y) / len(y)
            slope = sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)
            errors = [nll[n] - math.exp(my + slope * (a - mx)) for n, a in zip(line, x)]
            place = f'fits.csv: {row["family"]}: {row["domain"]}'
            expect(int(row['points']) == len(line), f'{place}: points: expected {len(line)}, got {row["points"]}')
            expect(close(row['exponent'], slope), f'{place}: exponent: expected {slope}, got {row["exponent"]}')
            worst_error = max(map(abs, errors))
            expect(math.isclose(float(row['worst']), worst_error, rel_tol=1e-6, abs_tol=1e-9),
                   f'{place}: worst: expected {worst_error}, got {row["worst"]}')
    if (out / 'tasks.csv').exists():
        tasks = table(out / 'factors_tasks.csv')
        accuracy, items = collections.defaultdict(dict), collections.defaultdict(dict)
        for row in table(out / 'task_items.csv.zst'):
            if row['run'] in runs:
                items[row['task']][row['run']] = [(1 - int(right), 1) for right in row['right']]
                accuracy[row['task']][row['run']] = row['right'].count('1') / len(row['right'])
        for row in table(out / 'tasks.csv'):
            value = accuracy[row['task']][row['run']]
            expect(close(row['accuracy'], value), f'tasks.csv: {row["run"]}: {row["task"]}: accuracy: expected {value}')
        complete = {run: facts for run, facts in runs.items() if all(run in of for of in accuracy.values())}
        wrong = {task: {run: sum(x for x, _ in items[task][run]) / len(items[task][run]) for run in complete}
                 for task in accuracy}
        small = numpy is not None or all(len(next(iter(of.values()))) <= 2000 for of in items.values())
        if not small:
            print('factors_tasks.csv: intervals not checked: numpy is not there')
        if complete and accuracy:
            by_task = Study(complete, wrong, items if small else None, {'mean': list(accuracy)}, baseline, flags.replicates)
            worst = max(worst, check_factors('factors_tasks.csv', tasks, 'task', by_task, lambda share: 1 - share))
        else:
            expect(not tasks, 'factors_tasks.csv: expected no factor, since no run has all tasks')
    for fault in faults[:50]:
        print(fault)
    if faults and (out / 'factors.csv').stat().st_mtime < (out / 'points.csv').stat().st_mtime - 1:
        print('factors.csv is older than points.csv, as while a study goes on: look again when it has ended')
    print(f'{out}: {len(ok)} points and domains, {len(factors)} factors, '
          f'{sum(row["form"] == "frontier" for row in factors)} of frontiers, {len(tasks)} by tasks, {len(fits)} fits: '
          + (f'{len(faults)} differ' if faults else 'all as computed again')
          + f'; ends of intervals differ by {100 * worst:.0f} % of their width at most')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
