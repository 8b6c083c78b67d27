#!/usr/bin/env bash
# One model trained by several processes, as users run it: mpirun -n N troupe train.
#   ranks_test.sh PROGRAM MPIRUN
. "$(dirname "$0")/expect.sh"
needs_ranks "$2"

for i in $(seq 60); do echo "the quick brown fox number $i jumps over $((i * 7)) lazy dogs and $((i * i)) cats"; done >text.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1
cat >run.toml <<END
[model]
num_layers = 2
d_model = 16
num_heads = 2
d_ff = 32
vocab_size = 300
context = 16
dropout = 0.1
[model.moe]
num_experts = 5
every = 1
top_k = 2
expert_d_ff = 16
second_choice = "sampling"
[train]
steps = 5
batch_sequences = 8
micro_sequences = 4
precision = "fp32"
log_every = 1
checkpoint_every = 3
clip_norm = 1.0
keep_best = true
[train.schedule]
lr = 3e-3
[data]
train = ["data"]
valid = ["data"]
END

# Figures of metrics.jsonl of two runs differ by at most 1e-6.
same() {
  python3 - "$@" <<'END' || fail "$1 and $2 differ"
import json, sys
read = lambda run: [json.loads(line) for line in open(run + '/metrics.jsonl')]
a, b = read(sys.argv[1]), read(sys.argv[2])
assert len(a) == len(b) and len(a) >= 6, (len(a), len(b))
seen = 0
for x, y in zip(a, b):
    assert x['schema'] == y['schema'] and x['step'] == y['step'], (x, y)
    for key in ('loss', 'nll', 'aux_loss', 'grad_norm', 'tokens', 'ppl', 'bits_per_byte'):
        if key in x:
            seen += 1
            assert abs(x[key] - y[key]) <= 1e-6 * abs(x[key]), (x['step'], key, x[key], y[key])
assert seen > 20, seen
END
}

# planned RUN: plan.json, of `cost --plan`, says what the run came to.
planned() {
  python3 - "$1/summary.json" plan.json <<'END' || fail "the plan of $1: $(cat plan.json "$1/summary.json")"
import json, sys
s, plan = (json.load(open(name)) for name in sys.argv[1:])
memory, sent = plan['memory_bytes'], plan['bytes_sent_per_step']
assert plan['ranks'] == s['ranks'] and plan['sequences_per_rank'] == max(s['sequences_per_rank'])
assert plan['experts_per_rank'] == max(s['experts_per_rank'])
assert plan['copies_per_expert'] == max(s['copies_per_expert'] or [1])
assert 0 < plan['efficiency'] <= 1 and plan['tokens_per_s'] > 0, plan  # one node: no link between
assert 0.9 < memory['weights'] / max(s['parameter_bytes_per_rank']) < 1.1, memory
assert 0.9 < memory['optimizer'] / max(s['moment_bytes_per_rank']) < 1.5, memory  # the fullest of both kinds
if s['ranks'] in (2, 4):  # alike
    total = s['ranks'] * sum(kind[link] for kind in sent.values() for link in kind)
    assert 0.85 < total / s['bytes_exchanged_per_step'] < 1.15, (total, s['bytes_exchanged_per_step'])
END
}

# A rank that does not start, of which the others say so: looked at in the end.
"$mpirun" -n 1 sleep 60 : -n 1 "$program" train run.toml --run late --watchdog 0.5 >/dev/null 2>late.log &
late=$!

# 1. N ranks compute what one does, and what they wrote goes on in any other number.
for n in 1 2 3 4; do
  on $n train run.toml --run n$n >out.txt 2>log.txt || fail "$n ranks: $?: $(cat log.txt)"
  [ "$(cat out.txt)" = n$n/model ] || fail "$n ranks: stdout: $(cat out.txt)"
  same n1 n$n
  python3 - n$n/summary.json $n <<'END' || fail "n$n/summary.json: $(cat n$n/summary.json)"
import json, sys
s, n = json.load(open(sys.argv[1])), int(sys.argv[2])
assert s['ranks'] == n and sum(s['sequences_per_rank']) == 4 and sum(s['experts_per_rank']) == 5
assert all(len(s[key]) == n for key in s if key.endswith('_per_rank') and isinstance(s[key], list)), s
assert (s['bytes_exchanged_per_step'] > 0) == (n > 1) and min(s['parameter_bytes_per_rank']) > 0
assert sum(s['moment_bytes_per_rank']) >= 2 * max(s['parameter_bytes_per_rank'])
assert s['seconds_per_step'] > 0 and s['seconds_per_checkpoint'] > 0, s
assert all(0 < share < 1 if n > 1 else share == 0 for share in s['exchange_share_per_rank']), s
END
  printf '%s\n' "ranks_per_node = $n" 'gb_per_rank = 1' 'tflops = 0.001' '[within]' 'gb_per_s = 1' >cluster.toml
  "$program" cost --config run.toml --plan cluster.toml --json >plan.json 2>log.txt || fail "a plan of $n ranks: $(cat log.txt)"
  planned n$n
done
grep -q 'ranks: 4 (.*MPI.*by rank: sequences of a micro-batch 1 1 1 1; experts of a layer 1 1 1 2' n4/train.log || fail "n4/train.log: $(cat n4/train.log)"
[ "$(grep -c '"event":"start"' n4/history.jsonl)" = 1 ] || fail "n4/history.jsonl: $(cat n4/history.jsonl)"
"$program" eval ppl --model n4/model --data data >eval.txt 2>&1 || fail "a model written by 4 ranks: $(cat eval.txt)"
for n in 1 2 3 4; do
  for m in 1 2 3 4; do
    cp -r n$n to
    rm -rf to/checkpoints/step-00000005 to/model to/best
    on $m train run.toml --run to --resume >/dev/null 2>log.txt || fail "$n to $m ranks: $?: $(cat log.txt)"
    grep -q 'resume: 3 steps done' to/train.log || fail "$n to $m ranks: train.log: $(cat to/train.log)"
    same n1 to
    rm -rf to
  done
done

# Copies of experts: two, of four ranks; the same model, from and to any number.
two="--set model.moe.num_experts=2"
"$program" train run.toml --run two1 $two >/dev/null 2>log.txt || fail "two experts: $?: $(cat log.txt)"
on 4 train run.toml --run two4 $two >/dev/null 2>log.txt || fail "two experts of 4 ranks: $?: $(cat log.txt)"
same two1 two4
grep -q '"copies_per_expert": *\[ *2, *2 *\]' <(tr -d '\n' <two4/summary.json) || fail "two4/summary.json: $(cat two4/summary.json)"
grep -q 'ranks: 4 ranks share 2 experts, with copies: ranks of each 2 2' two4/train.log || fail "two4/train.log: $(cat two4/train.log)"
printf '%s\n' 'ranks_per_node = 4' 'gb_per_rank = 1' 'tflops = 0.001' '[within]' 'gb_per_s = 1' >cluster.toml
"$program" cost --config run.toml --plan cluster.toml --json $two >plan.json 2>log.txt || fail "a plan of copies: $(cat log.txt)"
planned two4
for way in "4 1" "4 3" "1 4"; do
  set -- $way
  cp -r two$1 to
  rm -rf to/checkpoints/step-00000005 to/model to/best
  on $2 train run.toml --run to --resume $two >/dev/null 2>log.txt || fail "two experts, $1 to $2 ranks: $?: $(cat log.txt)"
  same two1 to
  rm -rf to
done

# Threads of ranks that the launcher has not bound: a share of the cores, by hwloc.
(unset OMP_NUM_THREADS OMP_PROC_BIND OMP_PLACES GOMP_CPU_AFFINITY TROUPE_PLACED
  on 2 train run.toml --run placed --set train.steps=1 >/dev/null 2>log.txt) || fail "unbound ranks: $(cat log.txt)"
grep -Eq 'ranks: [0-9]+ threads?, (cpus [0-9,-]+ \([0-9]+ of [0-9]+ NUMA nodes?\)|free to move)' placed/train.log ||
  fail "unbound ranks: $(cat placed/train.log)"
threads=$(sed -n 's/.*ranks: \([0-9]*\) threads\?, cpus.*/\1/p' placed/train.log)
[ -z "$threads" ] || [ "$threads" -le $((($(nproc) + 1) / 2)) ] || fail "unbound ranks: $threads threads each"
grep -q 'memory: about .* of a rank, .* of 2 ranks on this machine, .* free' log.txt || fail "memory of ranks: $(cat log.txt)"

# 2. What is wrong with all is said once, with the program's status.
wrong() {
  local name=$1 status=$2 message=$3 got
  shift 3
  on 2 train "$@" >out.txt 2>log.txt
  got=$?
  [ $got = "$status" ] || fail "$name: expected status $status, got $got: $(cat log.txt)"
  [ "$(grep -c '^error:' log.txt)" = 1 ] || fail "$name: expected one error: $(cat log.txt)"
  grep -Eq "$message" log.txt || fail "$name: expected '$message': $(cat log.txt)"
}
wrong "key" 2 'moe.top_k: expected' run.toml --run bad --set model.moe.top_k=9
wrong "data" 3 'nowhere: expected a dataset' run.toml --run bad --set 'data.train=["nowhere"]'
wrong "too few sequences" 2 'train.micro_sequences: expected at least 2 sequences .* 2 ranks, got 1' run.toml --run bad --set train.micro_sequences=1
wrong "a run is there" 2 'n1: expected a new run' run.toml --run n1
wrong "dry run" 2 'dry-run: expected one process' run.toml --run bad --dry-run
wrong "no memory" 4 'run.toml: expected at least .* of memory on .* for its 2 ranks \(.* each\), got .* that are free' run.toml --run bad \
  --set model.vocab_size=300 --set model.d_model=65536 --set model.d_ff=262144 --set model.num_layers=8
wrong "not finite" 5 'step [0-9]+: ' run.toml --run diverged --set train.schedule.lr=1e30 --set train.clip_norm=0 --set train.schedule.warmup_steps=0
[ ! -e bad ] || fail "a refused run left $(ls bad)"

# 3. A damaged part: set aside, and the checkpoint before it goes on.
cp -r n3 cut && rm -rf cut/model
truncate -s -5 cut/checkpoints/step-00000005/optimizer-00002-of-00003.safetensors
on 2 train run.toml --run cut --resume >/dev/null 2>log.txt || fail "cut: $?: $(cat log.txt)"
grep -q 'optimizer-00002-of-00003.safetensors: expected [0-9]* bytes, got' cut/train.log || fail "cut: $(cat cut/train.log)"
same n1 cut

# 4. Killed, hanging and asked to end: all ranks end within seconds, and the run goes on.
start() { # RUN FLAGS...: many updates, in the background, until its third checkpoint
  local run=$1
  shift
  "$mpirun" -n 3 "$program" train run.toml --run "$run" --set train.steps=1000000 --set train.checkpoint_every=1 "$@" >/dev/null 2>"$run.log" &
  job=$!
  for _ in $(seq 600); do
    [ "$(cat "$run/history.jsonl" 2>/dev/null | grep -c '"checkpoint"')" -lt 3 ] || break
    sleep 0.05
  done
  ranks=$(pgrep -P $job)
  victim=$(tail -1 <<<"$ranks")
}
ends() { # RUN STATUSES SECONDS
  local run=$1 got begin=$SECONDS rank
  wait $job
  got=$?
  [ $((SECONDS - begin)) -le "$3" ] || fail "$run: expected an end within $3 s, got $((SECONDS - begin))"
  [[ " $2 " = *" $got "* ]] || fail "$run: expected status $2, got $got: $(cat "$run.log")"
  for rank in $ranks; do  # mpirun may go before what it killed has gone
    while [[ $(ps -o stat= -p "$rank") = [!Z]* ]] && [ $((SECONDS - begin)) -le "$3" ]; do sleep 0.1; done
    [[ $(ps -o stat= -p "$rank") = [!Z]* ]] && fail "$run: rank $rank is left"
  done
  [ "$(ls "$run/checkpoints" | grep -c '^step-[0-9]*$')" -gt 0 ] || fail "$run: no checkpoint is left"
}
start killed
wrong "two jobs on one run" 4 'killed.*: expected .*' run.toml --run killed --resume
kill -9 "$victim"
ends killed "137" 10
on 2 train run.toml --run killed --resume --set train.steps=$(($(tail -1 killed/history.jsonl | sed 's/.*"step": *\([0-9]*\).*/\1/') + 2)) >/dev/null 2>log.txt || fail "going on after a kill: $(cat log.txt)"
start hung --watchdog 2
kill -STOP "$victim"
ends hung "4" 15
grep -q '^error: rank 0 of 3: .*: expected an answer of the other ranks within 2 s, got none' hung.log || fail "hung: $(cat hung.log)"
start asked
kill -TERM $job
ends asked "1 130 143" 15

wait $late
[ $? = 4 ] && grep -q '^error: rank 1 of 2: the start: expected an answer of the other ranks within 10.5 s, got none' late.log ||
  fail "a rank that does not start: $(cat late.log)"
finish
