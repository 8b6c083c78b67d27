#!/bin/bash
# A training on several ranks whose processes are killed, stopped and cut short at random for a time, while
# `troupe train --restarts` keeps it going: every loss must be that of a run that nobody disturbed.
#   tools/ranks/soak.sh PROGRAM [SECONDS [RANKS [SEED]]]
# 600 seconds, 3 ranks and seed 1 if not given. Works in a folder of its own under TMPDIR, which stays if something is wrong.
set -u
program=$(realpath "$1") seconds=${2:-600} ranks=${3:-3} RANDOM=${4:-1}
work=$(mktemp -d)
cd "$work" || exit 1
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
for i in $(seq 60); do echo "the quick brown fox number $i jumps over $((i * 7)) lazy dogs and $((i * i)) cats"; done >text.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1
cat >run.toml <<'TOML'
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 64
vocab_size = 300
context = 32
dropout = 0.1
[model.moe]
num_experts = 5
every = 2
expert_d_ff = 64
[train]
batch_sequences = 8
precision = "fp32"
log_every = 1
checkpoint_every = 5
keep_last = 3
[train.schedule]
kind = "constant"  # as it is for any number of updates
lr = 1e-3
[data]
train = ["data"]
TOML
start() { "$program" train run.toml --run "$1" --set train.steps=100000000 --launch "mpirun -n $ranks" "${@:2}" >"$1.log" 2>&1 & job=$!; }
last_step() { tail -1 "$1/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step":\([0-9]*\).*/\1/p'; }
all_of() { pgrep -f "^$program train run.toml --run $1 --set train.steps=100000000( --watchdog 5)?( --resume)?$"; }

# Whatever happens to it, it goes on.
start soak --restarts 1000000 --watchdog 5
end=$((SECONDS + seconds))
kills=0 stops=0
while [ $SECONDS -lt $end ]; do
  sleep $((4 + RANDOM % 16)).$((RANDOM % 10))
  victims=($(all_of soak))
  [ ${#victims[@]} -gt 0 ] || continue
  victim=${victims[RANDOM % ${#victims[@]}]}
  if [ $((RANDOM % 5)) = 0 ]; then
    kill -STOP $victim 2>/dev/null && stops=$((stops + 1))  # the watchdog ends it, or rather the others
    sleep 8
    kill -CONT $victim 2>/dev/null
  else
    kill -KILL $victim 2>/dev/null && kills=$((kills + 1))
  fi
done
kill -TERM $job
wait $job
status=$?
steps=$(last_step soak)
restarts=$(grep -c '; restart [0-9]* of' soak.log)
echo "$kills ranks killed and $stops stopped in $seconds s: $restarts restarts, ${steps:-0} updates"
[ "${steps:-0}" -gt 0 ] || { echo "FAILED: no update; see $work"; exit 1; }

# The same updates in peace.
"$program" train run.toml --run whole --set train.steps="$steps" --set train.checkpoint_every=1000000 \
  --launch "mpirun -n $ranks" >whole.log 2>&1 || { echo "FAILED: a run in peace; see $work"; exit 1; }
python3 - <<'PYTHON' || { echo "FAILED: other losses; see $work"; exit 1; }
import json
read = lambda run: {l['step']: l for l in map(json.loads, open(run + '/metrics.jsonl')) if l['schema'] == 'troupe.train/1'}
soak, whole = read('soak'), read('whole')
common = sorted(set(soak) & set(whole))
assert len(common) >= len(soak) - 1 and common[-1] - common[0] + 1 == len(common), 'updates are missing'
for step in common:
    for key in ('loss', 'grad_norm'):
        assert soak[step][key] == whole[step][key], (step, key, soak[step][key], whole[step][key])
print(f'{len(common)} updates with the bits of a run in peace')
PYTHON
[[ " 1 130 143 " = *" $status "* ]] || {  # mpirun's own word for it, 1, too
  echo "FAILED: asked to end, it ended with status $status; see $work"; exit 1; }
cd / && rm -rf "$work"
