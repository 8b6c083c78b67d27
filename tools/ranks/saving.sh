#!/bin/bash
# What checkpoints cost two ranks of one thread each, and how long it takes to go on after a rank was killed.
#   tools/ranks/saving.sh PROGRAM [MODEL [UPDATES [EVERY]]]
# The same updates (30 if not given) without checkpoints, with one every EVERY (12) that training waits for, and with one
# that is written in the background; the last update is no multiple of EVERY. With SCALING_WITH=COMMAND every run is started
# by it ("chrt -r 5").
set -eu
program=$(realpath "$1") model=${2:-moe16-6x256} updates=${3:-30} every=${4:-12}
with=${SCALING_WITH:-}
. "$(dirname "$0")/model.sh"
export OMP_NUM_THREADS=1
run() { quietly $with mpirun -n 2 "$program" train run.toml --run "$@"; }
run none
run waiting --set train.checkpoint_every=$every --set train.checkpoint_in_background=false
run background --set train.checkpoint_every=$every
python3 - "$model" "$every" <<'PYTHON'
import json, os, sys
every = int(sys.argv[2])
def of(run):
    lines = [l for l in map(json.loads, open(run + '/metrics.jsonl')) if l['schema'] == 'troupe.train/1']
    return lines[-1]['time_s'] - lines[1]['time_s'], len(lines) - 2, json.load(open(run + '/summary.json'))
plain, updates, final = of('none')
last = final['seconds_per_checkpoint']  # of the end, which is always waited for
count = (updates + 2) // every
folder = max((os.path.join('none/checkpoints', name) for name in os.listdir('none/checkpoints')))
size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
print(f'{sys.argv[1]}: checkpoints of {size / 1e6:.0f} MB, one every {every} updates of {plain / updates:.3f} s ({every * plain / updates:.1f} s):')
for run in ('waiting', 'background'):
    seconds, _, summary = of(run)
    wait = ((count + 1) * summary['seconds_per_checkpoint'] - last) / count
    slower = (seconds - plain) / count
    print(f'  {run:10}  {wait + slower:.2f} s each: training waits {wait:.2f} s, and its updates take {slower:+.2f} s longer')
PYTHON
# A rank is killed.
$with "$program" train run.toml --run killed --set train.steps=100000 --set train.checkpoint_every=4 --restarts 3 --launch "mpirun -n 2" >killed.log 2>&1 &
job=$!
until [ "$(grep -c '"checkpoint"' killed/history.jsonl 2>/dev/null)" -ge 1 ] 2>/dev/null; do sleep 0.05; done
kill -9 "$(pgrep -f "^$program train run.toml --run killed --set train.steps=100000 --set train.checkpoint_every=4$" | tail -1)"
start=$(date +%s.%N)
until grep -q '"resume"' killed/history.jsonl; do sleep 0.02; done
resumed=$(date +%s.%N) lines=$(wc -l <killed/metrics.jsonl)
until [ "$(wc -l <killed/metrics.jsonl)" -gt "$lines" ]; do sleep 0.02; done
python3 -c "print(f'  a rank killed: the others end, all start, read the checkpoint: {$resumed - $start:.1f} s, first update after {$(date +%s.%N) - $start:.1f} s')"
kill -TERM $job
wait $job || true
