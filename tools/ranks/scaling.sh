#!/bin/bash
# Two ranks of one thread each beside one process of two threads, on the same updates, in turns: what sharing costs.
#   tools/ranks/scaling.sh PROGRAM [MODEL [UPDATES [TURNS]]]
# MODEL is moe16-6x256 (if not given) or moe8-12x768, as in `troupe bench step`; 6 updates and 3 turns if not given. With
# SCALING_WITH=COMMAND every run is started by it ("chrt -r 5": nothing else takes the processors meanwhile). Works in a
# folder of its own under TMPDIR.
set -eu
program=$(realpath "$1") model=${2:-moe16-6x256} updates=${3:-6} turns=${4:-3}
with=${SCALING_WITH:-}
case $model in
moe16-6x256) layers=6 width=256 heads=4 context=256 experts=16 sequences=32 ;;
moe8-12x768) layers=12 width=768 heads=12 context=512 experts=8 sequences=4 ;;
*) echo "scaling.sh: MODEL: expected moe16-6x256 or moe8-12x768, got $model" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMP_WAIT_POLICY=active
python3 - <<'PYTHON'
import random
random.seed(1)
words = [''.join(random.choices('abcdefghijklmnopqrstuvwxyz', k=random.randint(2, 9))) for _ in range(6000)]
with open('text.txt', 'w') as out:
    for _ in range(4000):
        out.write(' '.join(random.choices(words, k=60)) + '\n')
PYTHON
"$program" tokenizer train --vocab-size 8192 --out tok text.txt >/dev/null 2>log.txt || { cat log.txt >&2; exit 4; }
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>log.txt || { cat log.txt >&2; exit 4; }
cat >run.toml <<TOML
[model]
num_layers = $layers
d_model = $width
num_heads = $heads
d_ff = $((4 * width))
vocab_size = 8192
context = $context
[model.moe]
num_experts = $experts
every = 2
top_k = 2
group_sequences = 1
[train]
steps = $updates
batch_sequences = $sequences
precision = "auto"
log_every = 1
checkpoint_every = 0
[train.schedule]
lr = 1e-4
[data]
train = ["data"]
TOML
for turn in $(seq "$turns"); do
  OMP_NUM_THREADS=2 $with "$program" train run.toml --run "threads$turn" >/dev/null 2>log.txt || { cat log.txt >&2; exit 4; }
  OMP_NUM_THREADS=1 $with mpirun -n 2 "$program" train run.toml --run "ranks$turn" >/dev/null 2>log.txt || { cat log.txt >&2; exit 4; }
  OMP_NUM_THREADS=1 $with mpirun -n 1 "$program" train run.toml --run "one$turn" --set train.batch_sequences=$((sequences / 2)) \
    >/dev/null 2>log.txt || { cat log.txt >&2; exit 4; }
done
python3 - "$turns" "$model" <<'PYTHON'
import json, statistics, sys
turns = range(1, int(sys.argv[1]) + 1)
def steps(run):  # the first two plan memory
    times = [0.0] + [l['time_s'] for l in map(json.loads, open(f'{run}/metrics.jsonl')) if l['schema'] == 'troupe.train/1']
    return [b - a for a, b in zip(times, times[1:])][2:]
median = {kind: statistics.median([min(steps(f'{kind}{turn}')) for turn in turns]) for kind in ('threads', 'ranks', 'one')}
summaries = [json.load(open(f'ranks{turn}/summary.json')) for turn in turns]
share = lambda key: statistics.median([max(s[key]) for s in summaries])
print(f'{sys.argv[2]}: seconds of an update (the fastest of a run, median of {len(turns)} runs):')
print(f'  one process, two threads         {median["threads"]:.3f}')
print(f'  two ranks, a thread each         {median["ranks"]:.3f}  ({median["threads"] / median["ranks"]:.2f} of the speed)')
print(f'  one process, half of the batch   {median["one"]:.3f}  (one thread; weak scaling {median["one"] / median["ranks"]:.2f})')
print(f'  within calls to the other rank   {100 * share("exchange_share_per_rank"):.0f} % of the time')
print(f'  bytes sent while computing       {100 * share("overlap_share_per_rank"):.0f} %')
print(f'  bytes sent an update             {summaries[0]["bytes_exchanged_per_step"] / 1e6:.1f} MB')
PYTHON
