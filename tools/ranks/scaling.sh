#!/bin/bash
# Two ranks of one thread each beside one process of two threads, on the same updates, in turns: what sharing costs.
#   tools/ranks/scaling.sh PROGRAM [MODEL [UPDATES [TURNS]]]
# MODEL is moe16-6x256 (if not given) or moe8-12x768, as in `troupe bench step`; 6 updates and 3 turns if not given. With
# SCALING_WITH=COMMAND every run is started by it ("chrt -r 5": nothing else takes the processors meanwhile); with
# SCALING_BEFORE=PROGRAM its ranks are timed in the same turns. Works in a folder of its own under TMPDIR.
set -eu
program=$(realpath "$1") model=${2:-moe16-6x256} updates=${3:-6} turns=${4:-3}
with=${SCALING_WITH:-} before=${SCALING_BEFORE:+$(realpath "$SCALING_BEFORE")}
. "$(dirname "$0")/model.sh"
run() {  # NAME THREADS COMMAND...
  local name=$1 threads=$2
  shift 2
  OMP_NUM_THREADS=$threads quietly $with "$@" --run "$name"
}
for turn in $(seq "$turns"); do
  run "threads$turn" 2 "$program" train run.toml
  run "ranks$turn" 1 mpirun -n 2 "$program" train run.toml
  [ -z "$before" ] || run "before$turn" 1 mpirun -n 2 "$before" train run.toml
  run "one$turn" 1 "$program" train run.toml --set train.batch_sequences=$((sequences / 2))
done
OMPI_MCA_mpi_yield_when_idle=1 run four1 1 mpirun -n 4 "$program" train run.toml --set train.steps=4
# What `cost --plan` says before, with the speed of one rank and a link within the machine of GB_PER_S (4).
plan() {  # RANKS TFLOPS SEQUENCES
  printf '%s\n' "ranks_per_node = $1" 'gb_per_rank = 1000' "tflops = $2" '[within]' "gb_per_s = ${GB_PER_S:-4}" >cluster.toml
  "$program" cost --config run.toml --set train.batch_sequences=$3 --plan cluster.toml --json 2>/dev/null | head -1 >"plan$1.json"
}
plan 1 1 $((sequences / 2))
python3 - "$turns" "$model" "$before" <<'PYTHON'
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
if sys.argv[3]:
    other = statistics.median([min(steps(f'before{turn}')) for turn in turns])
    print(f'  the other program on two ranks   {other:.3f}')
print(f'  within calls to the other rank   {100 * share("exchange_share_per_rank"):.0f} % of the time')
print(f'  bytes sent while computing       {100 * share("overlap_share_per_rank"):.0f} %')
print(f'  bytes sent an update             {summaries[0]["bytes_exchanged_per_step"] / 1e6:.1f} MB')
seconds = lambda plan: json.load(open(plan))['seconds']['step']
json.dump({'tflops': seconds('plan1.json') / median['one'], 'ranks': median['ranks'], 'four': min(steps('four1'))}, open('measured.json', 'w'))
PYTHON
tflops=$(python3 -c 'import json; print(json.load(open("measured.json"))["tflops"])')
plan 2 "$tflops" "$sequences"
plan 4 "$(python3 -c "print($tflops / 2)")" "$sequences"  # of two processors
python3 - <<'PYTHON'
import json
measured = json.load(open('measured.json'))
for ranks, name in ((2, 'ranks'), (4, 'four')):
    planned = json.load(open(f'plan{ranks}.json'))['seconds']['step']
    print(f'  cost --plan of {ranks} ranks          {planned:.3f}, measured {measured[name]:.3f} ({100 * (planned / measured[name] - 1):+.0f} %)')
PYTHON
