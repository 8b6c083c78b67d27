#!/bin/bash
# What a run shows of itself: its plan before it starts, validation from the start, the best model, early stopping,
# samples, evaluation tasks, its log, `troupe follow` and `troupe metrics`. None of it changes what is trained, and all of
# it survives a stop.
# Usage: watch_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

cats 400 >text.txt
for i in $(seq 1 40); do printf 'A dog of %s years barks.\n\n' $i; done >other.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1
"$program" encode --tokenizer tok --out cats text.txt >/dev/null 2>&1
"$program" encode --tokenizer tok --out dogs other.txt >/dev/null 2>&1
cat >run.toml <<'END2'
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 64
vocab_size = 300
context = 32
dropout = 0.1
[train]
steps = 30
batch_sequences = 4
precision = "fp32"
log_every = 5
valid_every = 5
valid_tokens = 400
checkpoint_every = 10
[train.schedule]
kind = "constant"
lr = 3e-3
[data]
train = ["cats", "dogs"]
valid = ["cats=cats", "dogs=dogs"]
END2
mkdir -p tasks/pets
echo '{"q":"The 3th cat sat on","a":[" mat"," dog"],"y":0}' >tasks/pets/v.jsonl
echo '{"q":"A dog of 4 years","a":[" barks"," sat"],"y":0}' >>tasks/pets/v.jsonl
pets_task >pets.toml

# The plan: nothing is written, and what the run would refuse is refused.
expect "a plan" 0 "3,840" "$program" train run.toml --run plan --dry-run
for word in 'cats ' 'dogs ' 'updates     30' 'parameters  ' 'memory  ' 'disk  ' 'time        about'; do
  grep -qF "$word" out || fail "a plan: expected \"$word\" in $(cat out)"
done
grep -qE '^memory .* [0-9.]+ [kMGT]B needed, [0-9.]+ [kMGT]B free$' out || fail "a plan: bytes of memory in $(cat out)"
grep -qE '^disk .* [0-9.]+ [kMGT]B at most .* [kMGT]B free$' out || fail "a plan: bytes of disk in $(cat out)"
expect "a plan for programs" 0 '"schema":"troupe.train.plan/1"' "$program" train run.toml --run plan --dry-run --json
[ ! -e plan ] || fail "a plan wrote something"
expect "a plan of data that is not there" 3 "expected a dataset folder" \
  "$program" train run.toml --run plan --dry-run --set data.train=nowhere

# Whatever a run shows, it computes the same.
expect "a plain run" 0 "plain/model" "$program" train run.toml --run plain
cat >shown.toml <<'END2'
base = "run.toml"
[train]
valid_at_start = true
keep_best = true
best_by = "dogs"
[train.samples]
every = 10
prompts = ["The", "A dog"]
tokens = 8
temperature = 0
[train.tasks]
names = ["pets.toml"]
data_dir = "tasks"
END2
expect "a run that shows itself" 0 "shown/model" "$program" train shown.toml --run shown
cmp plain/model/model.safetensors shown/model/model.safetensors || fail "samples or tasks changed the training"
cmp plain/checkpoints/step-00000030/optimizer.safetensors shown/checkpoints/step-00000030/optimizer.safetensors ||
  fail "samples or tasks changed the moments"
count() { grep -c "\"schema\":\"$1\",\"step\":$2," "$3"; }
[ "$(count troupe.valid/1 0 shown/metrics.jsonl)" = 2 ] || fail "no validation at step 0"
[ "$(count troupe.valid/1 0 plain/metrics.jsonl)" = 0 ] || fail "a validation at step 0 that nobody asked for"
[ "$(count troupe.sample/1 10 shown/metrics.jsonl)" = 2 ] || fail "no samples at step 10"
[ "$(count troupe.sample/1 15 shown/metrics.jsonl)" = 0 ] || fail "samples at step 15"
[ "$(count troupe.task/1 15 shown/metrics.jsonl)" = 1 ] || fail "no task at step 15"
[ "$(grep -v '"schema":"troupe.\(sample\|task\)/1"\|"step":0,' shown/metrics.jsonl | wc -l)" = "$(wc -l <plain/metrics.jsonl)" ] ||
  fail "other lines of metrics"
greedy=$("$program" generate --model shown/model --prompt "A dog" --max-tokens 8 --temperature 0 --precision fp32 2>/dev/null)
[ "$(sed -n 's/.*troupe.sample\/1","step":30,"prompt":"A dog","text":"\(.*\)","tokens".*/\1/p' shown/metrics.jsonl)" = \
  "${greedy#A dog}" ] || fail "a greedy sample is what generate writes"

# The best model is the one of the best validation, also after a stop at any moment.
best_step() {  # RUN: by its metrics
  python3 - "$1" <<'END2'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1] + '/metrics.jsonl')]
best = min((l for l in lines if l['schema'] == 'troupe.valid/1' and l['data'] == 'dogs' and l['step'] > 0), key=lambda l: l['nll'])
print(best['step'])
END2
}
is_best() {  # RUN: best/ is of that step
  grep -q "\"step\": $(best_step "$1")," "$1/best/train_state.json" || fail "$1/best: expected step $(best_step "$1")"
}
is_best shown
expect "the best model is a model" 0 "dogs" "$program" eval ppl --model shown/best --data dogs=dogs
# Trained on cats alone the loss on dogs soon grows.
overfit="--set train.keep_last=10 --set data.train=cats --set train.steps=400 --set train.log_every=50"
expect "early stopping" 0 "stopped early: 3 validations in a row were not better than the" \
  "$program" train shown.toml --run early $overfit --set train.patience=3
is_best early
last=$(grep -o '"event":"complete","step":[0-9]*' early/history.jsonl | grep -o '[0-9]*$')
[ "$last" = $(($(best_step early) + 15)) ] || fail "early stopping: after step $last, with the best at $(best_step early)"
grep -q '"stopped_early":true' early/history.jsonl || fail "early stopping: the history does not say so"
cp -r early again
expect "no patience left" 0 "again/model" "$program" train shown.toml --run again $overfit --set train.patience=3 --resume
[ "$(wc -l <again/metrics.jsonl)" = "$(wc -l <early/metrics.jsonl)" ] || fail "no patience left: it went on"

"$program" train shown.toml --run parts $overfit --set train.patience=3 2>parts.log >/dev/null &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q '"schema":"troupe.valid/1","step":10,' parts/metrics.jsonl 2>/dev/null; do sleep 0.02; done
kill -KILL $pid
wait $pid 2>/dev/null
rm -rf parts/best # as if it was killed before
expect "going on" 0 "parts/model" "$program" train shown.toml --run parts $overfit --set train.patience=3 --resume
cmp early/model/model.safetensors parts/model/model.safetensors || fail "stopped and resumed: another model"
cmp early/best/model.safetensors parts/best/model.safetensors || fail "stopped and resumed: another best model"
clockless() { sed 's/"tokens_per_s":.*"drop_rate"/"drop_rate"/; s/"time_s":.*//; s/,"provenance":.*//' "$1"; }
[ "$(clockless early/metrics.jsonl)" = "$(clockless parts/metrics.jsonl)" ] || fail "stopped and resumed: other lines of metrics"
# best/ of a later step than the checkpoint, from which the run goes on: the one of its time comes back from its checkpoint.
cp -r early back
sed -i 's/"step": [0-9]*,/"step": 399,/' back/best/train_state.json
expect "another best model" 0 "" "$program" train shown.toml --run back $overfit --set train.patience=3 --resume
is_best back

# The log has what the terminal saw, and grows.
grep -q 'Z  step 30: validation nats: cats ' shown/train.log || fail "train.log: no validation: $(cat shown/train.log)"
grep -q 'Z  step 10: sample: "A dog" "' shown/train.log || fail "train.log: no sample"
grep -q 'Z  step 15: pets (harness): acc ' shown/train.log || fail "train.log: no task"
grep -q 'Z  train: [0-9]* %.*step ' shown/train.log || fail "train.log: no progress"
grep -q ' kernels; ' shown/train.log || fail "train.log: what was said before the run began"
lines=$(wc -l <early/train.log)
cmp <(head -n $lines again/train.log) early/train.log || fail "train.log: a resumed run changed it"
[ "$(wc -l <again/train.log)" -gt $lines ] || fail "train.log: a resumed run added nothing"
expect "a rate that explodes" 5 "error: step " "$program" train run.toml --run bad --set train.schedule.lr=1e30
grep -q 'Z  error: step ' bad/train.log || fail "train.log: no error"

# Watching from elsewhere.
expect "following a run that is over" 0 "model: shown/model" "$program" follow shown
[ "$("$program" follow shown --lines 3 | wc -l)" = 3 ] || fail "follow --lines"
[ "$("$program" follow shown --json --lines 100000)" = "$(cat shown/metrics.jsonl)" ] || fail "follow --json"
expect "following a run that failed" 1 "got one that failed after step" "$program" follow bad
expect "following nothing" 3 "expected the folder of a run, got nothing of this name" "$program" follow nowhere
mkdir empty
expect "following another folder" 3 "without a history.jsonl" "$program" follow empty
(exec "$program" train run.toml --run live --set train.steps=100000 --set train.valid_every=0) >/dev/null 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q '"step":10,' live/metrics.jsonl 2>/dev/null; do sleep 0.02; done
timeout 60 "$program" follow live --json --lines 0 >live.out 2>live.err &
follower=$!
while kill -0 $follower 2>/dev/null && [ ! -s live.out ]; do sleep 0.05; done
kill -TERM $pid
wait $pid
wait $follower
[ $? -eq 1 ] && grep -q "got one that was interrupted after step" live.err || fail "following a run that is interrupted: $(cat live.err)"
cmp <(tail -n 1 live.out) <(tail -n 1 live/metrics.jsonl) || fail "following: the last line is missing"
(exec "$program" train run.toml --run killed --set train.steps=100000 --set train.valid_every=0) >/dev/null 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q '"step":10,' killed/metrics.jsonl 2>/dev/null; do sleep 0.02; done
kill -KILL $pid
wait $pid 2>/dev/null
expect "following a run that was killed" 1 "got one that was killed after step" timeout 60 "$program" follow killed

# Numbers for others.
"$program" metrics shown >shown.csv || fail "metrics"
"$program" metrics shown --format tensorboard >events || fail "metrics --format tensorboard"
"$program" metrics shown --format tensorboard | cmp - events || fail "a second event file"
[ "$(ls shown/tensorboard | wc -l)" = 1 ] || fail "several event files"
python3 "$tests/read_metrics.py" shown/metrics.jsonl shown.csv "$(cat events)" || fail "metrics: other numbers"
cp "$tests/../data/metrics/metrics.jsonl" . 2>/dev/null && mkdir golden && mv metrics.jsonl golden/
"$program" metrics golden --format tensorboard --out tb >/dev/null || fail "metrics of a given file"
cmp tb/events.out.tfevents.* "$tests/../data/metrics/events" || fail "an event file, byte by byte"

# What cannot be is refused before anything is written.
refuse() {  # NAME MESSAGE FLAG...
  local name=$1 message=$2
  shift 2
  expect "$name" 2 "$message" "$program" train run.toml --run no "$@"
}
refuse "patience without validations" "train.patience: expected train.valid_every above 0" --set train.patience=2 --set train.valid_every=0
refuse "a best model without a set" "train.keep_best: expected a validation set" --set train.keep_best=true --set data.valid=[]
refuse "the best by an unknown set" "train.best_by: expected the name of a set in data.valid, got birds" --set train.best_by=birds
refuse "samples of nothing" "train.samples.prompts: expected at least one prompt" --set train.samples.every=5
refuse "tasks without data" "train.tasks.data_dir: expected the folder" --set 'train.tasks.names=["piqa"]'
refuse "an unknown task" "did you mean piqa?" --set 'train.tasks.names=["piqqa"]' --set train.tasks.data_dir=tasks
expect "a task without its data" 3 "tasks/piqa" \
  "$program" train run.toml --run no --set 'train.tasks.names=["piqa"]' --set train.tasks.data_dir=tasks
[ ! -e no/history.jsonl ] || fail "a refused run was started"
finish
