#!/usr/bin/env python3
"""The study of fine-tuning at our scale (Table 4 of Artetxe et al. 2021): a dense model and its sparse twin learn SST-2 and a
domain, one factor at a time from one default, alike for both where both have it.

    finetune_pair.py TROUPE PAIR TASKS OUT [--text NAME=PATH] [--others TASK,...] [--go] [--minutes M] [--jobs N] ...

PAIR is the folder of `troupe study configs/finetune-pair.toml --out PAIR`: seed S goes on from the model of seed S, if there are
several. TASKS is the folder of the tasks' data, --text a domain that no model has read. Says what every training would take; with
--go it trains what is not in OUT yet, the defaults with all seeds first, then every factor with the first seed, then the two best
of each model with the other seeds, then --others with the best of each model. --jobs of them run at once. --minutes ends all
after so long (the next call goes on); after two thirds of it no further factor is tried, so that the best so far get their
seeds. A training that fails is said, and the others go on (exit code 1 in the end). OUT/results.jsonl has a line for each that
is finished; the tables of tools/finetune_tables.py end it.
"""
import argparse
import json
import math
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import finetune_tables

DOMAIN = 'domain'
KEPT = 'metrics.jsonl', 'train.log', 'config.toml'  # of a finished training, beside its result: neither weights nor checkpoints

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('troupe')
for folder in 'pair', 'tasks', 'out':
    parser.add_argument(folder, type=pathlib.Path)
parser.add_argument('--text', help='NAME=PATH of a domain to adapt to')
parser.add_argument('--others', default='', help='tasks to learn with the settings that were best on SST-2')
parser.add_argument('--go', action='store_true'), parser.add_argument('--minutes', type=float, default=math.inf)
parser.add_argument('--only', choices=finetune_tables.FAMILIES, help='train one of the models')
parser.add_argument('--settings', default='', help='only these (and the default), each with every seed, on everything, --others too')
parser.add_argument('--jobs', type=int, default=1, help='trainings at once')
parser.add_argument('--work', type=pathlib.Path, help='where trainings run, with their checkpoints, if not in OUT')
parser.add_argument('--device', default='', help='as in troupe --device')
parser.add_argument('--epochs', type=int, default=3), parser.add_argument('--batch', type=int, default=16)
parser.add_argument('--lr', type=float, default=1e-4)
parser.add_argument('--seeds', type=int, default=3, choices=range(1, max(finetune_tables.T_975) + 2),
                    metavar=f'1..{max(finetune_tables.T_975) + 1}')
parser.add_argument('--limit', type=int, default=2000, help='items of a task to train on; 0: no SST-2')
parser.add_argument('--eval-limit', type=int, default=0, help='items of a task that are evaluated; 0: all')
parser.add_argument('--pieces', type=int, default=400, help='pieces of the domain to train on')
parser.add_argument('--held-out', type=int, default=200, help='held-out pieces of the domain that are measured')
parser.add_argument('--set', action='append', default=[], metavar='key=value', help='of every training')
flags = parser.parse_args()

both = {
    'default': [],
    'rate x 3': [f'finetune.lr={3 * flags.lr:g}'],
    'rate / 3': [f'finetune.lr={flags.lr / 3:g}'],
    'rate x 10': [f'finetune.lr={10 * flags.lr:g}'],
    'batch x 4': [f'finetune.batch_sequences={4 * flags.batch}'],
    'only attention': ['finetune.freeze=all_but_attention'],
}
of_experts = {
    'experts frozen': ['finetune.freeze=experts'],
    'router frozen': ['finetune.freeze=router'],
    'only experts': ['finetune.freeze=all_but_experts'],
    'only chosen experts': ['finetune.freeze=all_but_chosen_experts'],
    'expert dropout 0.4': ['model.moe.expert_dropout=0.4'],
    'no balance loss': ['model.moe.aux_loss_weight=0'],
}
ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'o_proj']


def adapters(rank, *targets):
    return [f'finetune.lora.rank={rank}', f'finetune.lora.targets={json.dumps([*ATTENTION, *targets])}',
            f'finetune.lr={10 * flags.lr:g}']


beyond = {  # what the paper did not try
    'rest x 10': [f'train.optimizer.lr.rest={10 * flags.lr:g}'],  # norms, biases and routers
    'embedding / 10': [f'train.optimizer.lr.embedding={flags.lr / 10:g}'],
    'no dropout': ['model.dropout=0'],
    'adapters of attention': adapters(8),  # at ten times the rate
}
beyond_of_experts = {
    'expert dropout 0': ['model.moe.expert_dropout=0'],
    'balance loss x 10': ['model.moe.aux_loss_weight=0.1'],
    'router noise 0.1': ['model.moe.input_jitter=0.1'],
    'capacity 1': ['model.moe.capacity=fairseq'],  # top-2: two places of an even share; what is beyond them is dropped
}
FACTORS = {'dense': both | beyond | {'adapters of all': adapters(8, 'up_proj', 'down_proj')},
           'moe': both | of_experts | beyond | {'adapters of all': adapters(8, 'experts')} | beyond_of_experts}
SETTINGS = [setting for setting in flags.settings.split(',') if setting]
if unknown := [setting for setting in SETTINGS if setting not in FACTORS['moe']]:
    parser.error(f'--settings: expected some of {", ".join(FACTORS["moe"])}, got {unknown[0]}')
SEEDS = range(1, flags.seeds + 1)
TASKS = (['sst2'] if flags.limit else []) + ([DOMAIN] if flags.text else [])
OTHERS = [task for task in flags.others.split(',') if task]
work = flags.work or flags.out
begin = time.monotonic()
end = begin + 60 * flags.minutes


def folder_of(root, learnt, family, factor, seed):
    return root / learnt / family / factor.replace(' ', '-').replace('/', 'by') / f'seed-{seed}'


def start_of(family, seed):
    start = flags.pair / family / f'seed-{seed}' / 'model'
    return start if start.exists() else flags.pair / family / 'model'


def is_possible(job):
    """Whether --only asks for it and its model is there."""
    return flags.only in (None, job[1]) and start_of(job[1], job[3]).exists()


def line_of(learnt, family, factor, seed):
    """What came of a training; None if it is not finished."""
    file = folder_of(flags.out, learnt, family, factor, seed) / 'result.json'
    if not file.exists():
        return None
    result = json.loads(file.read_text())
    of = result.get('provenance', {})
    return {'schema': 'troupe.finetune_pair/1', 'learnt': learnt, 'family': family, 'setting': factor, 'seed': seed,
            **{key: result[key] for key in ('task', 'split', 'chosen_by', 'metric', 'n', 'zero_shot', 'value', 'lr')},
            'epoch': result['epochs'][0], 'seconds': result.get('seconds'), 'device': result.get('device', ''),
            'precision': of.get('precision', ''), 'commit': of.get('commit', '')}


def study():
    return finetune_tables.Study([
        line for learnt in TASKS + OTHERS for factor in FACTORS['moe'] for family in FACTORS for seed in SEEDS
        if factor in FACTORS[family] and (line := line_of(learnt, family, factor, seed))])


def command_of(learnt, family, factor, seed):
    settings = [f'finetune.epochs={flags.epochs}', f'finetune.batch_sequences={flags.batch}', f'finetune.lr={flags.lr:g}',
                f'finetune.seeds={seed}', *flags.set, *FACTORS[family][factor]]
    if learnt == DOMAIN:
        settings += [f'finetune.text={flags.text}', f'finetune.train_limit={flags.pieces}', f'finetune.eval_limit={flags.held_out}']
        what = []
    else:
        settings += [f'finetune.train_limit={flags.limit}', f'finetune.eval_limit={flags.eval_limit}']
        what = ['--task', learnt, '--data-dir', flags.tasks]
    command = [flags.troupe, *(['--device', flags.device] if flags.device else []), 'finetune', '--model', start_of(family, seed),
               '--run', folder_of(work, learnt, family, factor, seed), *what, '--quiet']
    for setting in settings:
        command += ['--set', setting]
    return command


class Scheduler:
    """Takes trainings in the order of the plan, some at once."""

    def __init__(self):
        self.changed = threading.Condition()
        self.taken, self.over, self.failed, self.running = set(), set(), [], {}
        self.stopping = False

    def is_over(self):
        return self.stopping or time.monotonic() >= end

    def is_late(self):
        return time.monotonic() > begin + (end - begin) * 2 / 3

    def plan(self):
        """The most valuable first; of the best settings once every factor is over, or it is late."""
        asked = TASKS + OTHERS if SETTINGS else TASKS
        for setting in dict.fromkeys(['default', *SETTINGS]):
            yield from ((learnt, family, setting, seed) for learnt in asked for seed in SEEDS for family in FACTORS
                        if setting in FACTORS[family])
        if SETTINGS:
            return
        tried = [(learnt, family, factor, SEEDS[0]) for factor in FACTORS['moe'] for learnt in TASKS for family in FACTORS
                 if factor in FACTORS[family] and is_possible((learnt, family, factor, SEEDS[0]))]
        if not self.is_late():
            yield from tried
        known = study()
        for learnt in TASKS:
            if not self.is_late() and any(job[0] == learnt and job not in self.over for job in tried):
                continue
            for seed in SEEDS:  # a setting that is best for one model is trained for both, to be paired
                for factor in dict.fromkeys(best for family in FACTORS for best in known.best(learnt, family, 2, SEEDS[0])):
                    for family in FACTORS:
                        if factor in FACTORS[family]:
                            yield learnt, family, factor, seed
        if self.is_late() or all(job in self.over for job in tried):
            for learnt in OTHERS:
                for seed in SEEDS:
                    for family in FACTORS:
                        for factor in known.best('sst2', family, 1) or ['default']:
                            yield learnt, family, factor, seed

    def next_job(self):
        return next((job for job in self.plan() if job not in self.taken and is_possible(job)), None)

    def work(self):
        while True:
            with self.changed:
                while not (job := None if self.is_over() else self.next_job()):
                    if self.is_over() or not self.running:
                        self.changed.notify_all()
                        return
                    self.changed.wait()
                self.taken.add(job)
                self.running[job] = None
            try:
                self.train(job)
            except Exception as error:  # a disk that is full, a program that is not there: of this training alone
                self.fail(job, error)
            with self.changed:
                del self.running[job]
                self.over.add(job)
                self.changed.notify_all()

    def fail(self, job, why):
        print(f'{name_of(job)}: FAILED: {why}', file=sys.stderr, flush=True)
        self.failed.append(job)

    def train(self, job):
        if line_of(*job):
            return
        run, kept, began = folder_of(work, *job), folder_of(flags.out, *job), time.monotonic()
        with self.changed:
            if self.stopping:
                return
            process = subprocess.Popen([*command_of(*job), '--resume', '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True, start_new_session=True)
            self.running[job] = process
        out, err = process.communicate()
        if self.stopping and process.returncode:
            return
        lines = out.splitlines()
        result = json.loads(lines[-1]) if process.returncode == 0 and lines else {}
        if result.get('schema') != 'troupe.finetune_result/1':
            last = (err.strip().splitlines() or ['no message'])[-1]
            return self.fail(job, f'exit code {process.returncode}: {last}')
        result |= {'seconds': round(time.monotonic() - began, 1), 'device': flags.device}
        for folder in 'checkpoints', 'best', 'model':
            shutil.rmtree(run / folder)
        kept.mkdir(parents=True, exist_ok=True)
        if kept != run:
            for file in KEPT:
                shutil.copy(run / file, kept)
            shutil.rmtree(run)
        (kept / 'result.json.tmp').write_text(json.dumps(result) + '\n')
        (kept / 'result.json.tmp').rename(kept / 'result.json')  # whole or not there: others read it at any time
        with self.changed:
            write_results()
        print(f'{name_of(job)}: {result["zero_shot"]:.4f} -> {result["value"]:.4f} in {result["seconds"]:.0f} s', file=sys.stderr,
              flush=True)

    def stop(self, *_):
        """What runs is interrupted, and goes on when the same command is given again."""
        self.stopping = True
        for process in list(self.running.values()):
            if process and process.poll() is None:
                process.send_signal(signal.SIGINT)

    def go(self):
        for caught in signal.SIGINT, signal.SIGTERM:
            signal.signal(caught, self.stop)
        threads = [threading.Thread(target=self.work) for _ in range(flags.jobs)]
        for thread in threads:
            thread.start()
        killed_at = math.inf
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1)
            now = time.monotonic()
            if now > end and not self.stopping:
                self.stop()
            if self.stopping:
                killed_at = min(killed_at, now + 20)
                if now > killed_at:
                    for process in list(self.running.values()):
                        process and process.kill()
                with self.changed:
                    self.changed.notify_all()


def name_of(job):
    learnt, family, factor, seed = job
    return f'{learnt}, {family}, {factor}, seed {seed}'


def write_results():
    path = flags.out / 'results.jsonl'
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(json.dumps(line) + '\n' for line in study().lines))
    temporary.rename(path)


def main():
    scheduler = Scheduler()
    if not flags.go:
        for job in dict.fromkeys(scheduler.plan()):
            if flags.only in (None, job[1]) and not line_of(*job):
                print(f'{name_of(job)}:', flush=True)
                subprocess.run([*command_of(*job), '--dry-run'], check=True)
        return 0
    for family in FACTORS:
        for seed in SEEDS:
            if not start_of(family, seed).exists():
                print(f'{start_of(family, seed)}: no such model: nothing is trained from it', file=sys.stderr)
    flags.out.mkdir(parents=True, exist_ok=True)
    scheduler.go()
    write_results()
    if study().lines:
        print('\n'.join(finetune_tables.tables(study())))
    if scheduler.failed:
        print(f'{len(scheduler.failed)} of {len(scheduler.taken)} trainings failed: {"; ".join(map(name_of, scheduler.failed))}',
              file=sys.stderr)
    return 1 if scheduler.failed else 0


if __name__ == '__main__':
    sys.exit(main())
