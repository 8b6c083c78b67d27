#!/usr/bin/env bash
# A model fine-tuned by several processes: what one process makes of it, in losses, figures, chosen epochs and
# predictions; killed and asked to end, it goes on with any other number of them.
#   ranks_finetune_test.sh PROGRAM MPIRUN
. "$(dirname "$0")/expect.sh"
needs_ranks "$2"

cats_run 'num_experts = 5' 'every = 1' 'expert_d_ff = 12'
"$program" train run.toml --run pre >/dev/null 2>&1 || fail "train"
"$program" train run.toml --run other --set train.seed=2 >/dev/null 2>&1 || fail "train a teacher"
sky_data
mkdir files
sky_task >files/sky.toml
for i in $(seq 30); do echo "{\"prompt\": \"what is $i?\", \"completion\": \"it is $((i * i))\"}"; done >answers.jsonl
cat >ft.toml <<'END'
[finetune]
lr = [0.03]
epochs = 4
batch_sequences = 8
tasks = ["files/sky.toml"]
data_dir = "tasks"
[train]
precision = "fp32"
log_every = 1
micro_sequences = 4
clip_norm = 1.0
[model]
dropout = 0.1
END

# Lines of metrics.jsonl of two runs: losses within 1e-6, norms, in which rounding grows faster from update to update, within
# 1e-5, figures of tasks equal.
same() {
  python3 - "$@" <<'END' || fail "$1 and $2 differ"
import json, sys
read = lambda run: [json.loads(line) for line in open(run + '/metrics.jsonl')]
a, b = read(sys.argv[1]), read(sys.argv[2])
assert len(a) == len(b) and len(a) > 4, (len(a), len(b))
for x, y in zip(a, b):
    for key in ('schema', 'step', 'task', 'split', 'epoch', 'accuracy', 'n', 'tokens'):
        assert x.get(key) == y.get(key), (key, x, y)
    for key in ('loss', 'nll', 'aux_loss', 'divergence', 'grad_norm'):
        if x.get(key) is not None:
            assert abs(x[key] - y[key]) <= (1e-5 if key == 'grad_norm' else 1e-6) * abs(x[key]), (x['step'], key, x[key], y[key])
END
}
best() { grep -o '"best_step":[0-9]*' "$1/history.jsonl"; }
tune() { local run=$1; shift; echo finetune ft.toml --model pre --run "$run" "$@"; }
predictions() {
  "$program" eval tasks --model "$1/model" --task-dir files --data-dir tasks --tasks sky --convention paper --precision fp32 \
    --details "$1.details" >/dev/null 2>&1
  grep -o '"chosen":[a-z]*' "$1.details"
}
table() { grep -v '^---' "$1" | tr -s ' '; }  # without what depends on the longest name
# check NAME RANKS FLAGS...: one process and several give the same.
check() {
  local name=$1 ranks=$2
  shift 2
  "$program" $(tune "$name" "$@") >out.1 2>log || fail "$name: $(cat log)"
  on "$ranks" $(tune "$name.$ranks" "$@") >out.n 2>log || fail "$name on $ranks ranks: $(cat log)"
  same "$name" "$name.$ranks"
  [ -n "$(best "$name")" ] && [ "$(best "$name")" = "$(best "$name.$ranks")" ] || fail "$name on $ranks ranks: $(best "$name.$ranks")"
  cmp <(table out.1) <(table out.n | sed "s/$name.$ranks/$name/") || fail "$name on $ranks ranks: $(cat out.1 out.n)"
}

# 1. What is learnt. There are fewer rows than ranks in a micro-batch, or more.
check task 2
for n in 3 4; do
  on $n $(tune task.$n) >/dev/null 2>log || fail "a task on $n ranks: $(cat log)"
  same task task.$n
done
[ -n "$(predictions task)" ] && [ "$(predictions task)" = "$(predictions task.3)" ] || fail "other predictions"
grep -q 'ranks: 3 (.*by rank: sequences of a micro-batch as many as texts take; experts of a layer 1 2 2' task.3/train.log ||
  fail "the log: $(cat task.3/train.log)"
python3 - <<'END' || fail "task.3/summary.json: $(cat task.3/summary.json)"
import json
s = json.load(open('task.3/summary.json'))
assert s['ranks'] == 3 and s['sequences_per_rank'] == [] and s['experts_per_rank'] == [1, 2, 2], s
assert s['bytes_exchanged_per_step'] > 0 and s['seconds_per_checkpoint'] > 0, s
END
check mixed 3 --set 'finetune.text=["text.txt"]' --set 'finetune.answers=["answers.jsonl"]' --set model.moe.capacity=fairseq \
  --set finetune.freeze=all_but_experts --set 'finetune.weights=["sky=0.2","text.txt=0.3","answers.jsonl=0.5"]'
check lora 3 --set finetune.lora.rank=4 --set 'finetune.lora.targets=["q_proj","experts","router"]' --set finetune.epochs=6 \
  --set train.patience=2
[ "$(ls lora/adapter)" = "$(ls lora.3/adapter)" ] || fail "adapters: $(ls lora.3/adapter)"
[ -e lora.3/model/adapter-00003-of-00003.safetensors ] || fail "no adapters beside the model: $(ls lora.3/model)"
check chosen 2 --set finetune.freeze=all_but_chosen_experts --set finetune.top_p=0.5 --set model.moe.group_sequences=1
check taught 2 --set finetune.teacher=other/model --set finetune.epochs=1

# 2. What was cut off goes on, with another number of ranks too.
sweep='--set finetune.lr=[0.01,0.02] --set finetune.epochs=2 --set train.checkpoint_every=3 --set train.keep_last=99'
begin() { # RUN FLAGS...: three ranks in the background, until they have done some updates
  local run=$1
  shift
  "$mpirun" -n 3 "$program" $(tune "$run" $sweep "$@") >/dev/null 2>"$run.log" &
  job=$!
  for _ in $(seq 300); do
    [ "$(cat "$run"/lr-0.01-seed-1/metrics.jsonl 2>/dev/null | wc -l)" -lt 6 ] || break
    sleep 0.1
  done
}
"$program" $(tune sweep $sweep) >out.1 2>log || fail "two rates: $(cat log)"
begin cut
kill -9 "$(pgrep -P $job | tail -1)"
wait $job
on 2 $(tune cut $sweep --resume) >out.n 2>log || fail "going on: $(cat log)"
for rate in 0.01 0.02; do same sweep/lr-$rate-seed-1 cut/lr-$rate-seed-1; done
cmp <(table out.1 | sed 's/sweep/cut/') <(table out.n) || fail "two rates: $(cat out.1 out.n)"
# Exactly from a checkpoint: what is after it is computed again.
rm -rf cut/lr-0.01-seed-1/{model,best}
find cut/lr-0.01-seed-1/checkpoints -mindepth 1 -maxdepth 1 ! -name step-00000003 -exec rm -r {} +
on 4 $(tune cut $sweep --resume) >/dev/null 2>log || fail "going on from step 3: $(cat log)"
grep -q 'resume: 3 steps done' cut/lr-0.01-seed-1/train.log || fail "going on from step 3: $(cat log)"
same sweep/lr-0.01-seed-1 cut/lr-0.01-seed-1
begin asked --set finetune.epochs=100000
kill -TERM $job
wait $job
[ "$(tail -1 asked/lr-0.01-seed-1/history.jsonl | grep -c '"interrupted"')" = 1 ] || fail "asked to end: $(cat asked.log)"

expect "a rate that diverges" 0 "0.01 (1000 diverged)" on 2 $(tune wild --set finetune.lr=1000,0.01 --set finetune.epochs=1)
[ "$(grep -c 'wild/lr-1000-seed-1: diverged, and counts as' out)" = 1 ] || fail "a rate that diverges: $(cat out)"

# 3. What is wrong is said once.
one_error() { [ "$(grep -c '^error' out)" = 1 ] || fail "expected one error, got $(cat out)"; }
expect "a run is there" 2 "--resume goes on with it" on 2 $(tune task)
one_error
expect "no data" 3 "error: " on 2 $(tune no --data-dir nowhere)
one_error
expect "a plan" 2 "--dry-run: expected one process, got 2 ranks" on 2 $(tune no --dry-run)
one_error
expect "released gradients" 2 "train.optimizer.release_gradients: expected " \
  on 2 $(tune no --set train.optimizer.release_gradients=true --set train.micro_sequences=0 --set train.clip_norm=0)
one_error
[ ! -e no ] || fail "a refused run left $(ls no)"
finish
