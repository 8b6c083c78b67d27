#!/bin/bash
# troupe encode and troupe train as users run them: a run that gets SIGTERM and is resumed ends like one that does not.
# Usage: train_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

cats 400 >text.txt
cat >run.toml <<'END'
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 64
vocab_size = 50257
eos_id = 50256
context = 32
[model.moe]
num_experts = 4
expert_d_ff = 32
[train]
steps = 30
batch_sequences = 4
precision = "fp32"
log_every = 1
checkpoint_every = 10
[data]
train = ["data"]
valid = ["same=data"]
END
expect "encode" 0 '"documents":400' "$program" encode --tokenizer "$2/gpt2-bpe" --out data text.txt --json
expect "encode into a full folder" 2 "expected a new or empty folder" \
  "$program" encode --tokenizer "$2/gpt2-bpe" --out data text.txt
expect "a whole run" 0 "whole/model" "$program" train run.toml --run whole

"$program" train run.toml --run parts 2>parts.log &
pid=$!
while ! grep -q '"step":3,' parts/metrics.jsonl 2>/dev/null; do
  kill -0 $pid 2>/dev/null || break
  sleep 0.02
done
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 130 ] || fail "SIGTERM: expected exit code 130, got $status and: $(cat parts.log)"
grep -q -- "--resume goes on with it" parts.log || fail "SIGTERM: $(cat parts.log)"
expect "a run that exists" 2 "--resume goes on with it" "$program" train run.toml --run parts
expect "resume" 0 "parts/model" "$program" train run.toml --run parts --resume
cmp whole/model/model.safetensors parts/model/model.safetensors || fail "resumed parameters differ"
cmp whole/checkpoints/step-00000030/optimizer.safetensors parts/checkpoints/step-00000030/optimizer.safetensors ||
  fail "resumed moments differ"
[ "$(wc -l <whole/metrics.jsonl)" = "$(wc -l <parts/metrics.jsonl)" ] || fail "lines of metrics differ in number"

# A long run in the background: $pid, once it has done some updates. `exec` keeps the process that is waited for.
begin() {
  local run=$1
  shift
  (exec "$@") >"$run.out" 2>"$run.log" &
  pid=$!
  while ! grep -q '"step":3,' "$run/metrics.jsonl" 2>/dev/null; do
    kill -0 $pid 2>/dev/null || break
    sleep 0.02
  done
}
long="--set train.steps=100000 --set train.checkpoint_every=0"
ended() {  # ended WHAT RC: the process of begin()
  wait $pid
  local status=$?
  [ $status -eq "$2" ] || fail "$1: expected exit code $2, got $status"
}

begin hup "$program" train run.toml --run hup $long
kill -HUP $pid
ended "a lost connection" 130
ls hup/checkpoints | grep -q '^step-' || fail "SIGHUP: no checkpoint"

# A log that nobody reads any more costs nothing.
expect "a closed log" 0 "" bash -c "set -o pipefail; '$program' train run.toml --run log 2>&1 >/dev/null | head -n 1"
cmp whole/model/model.safetensors log/model/model.safetensors || fail "a closed log changed the run"

# One step of minutes, so that both signals come during it.
(exec "$program" train run.toml --run twice $long --set train.batch_sequences=400000 --set train.micro_sequences=4) 2>twice.log &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q '^run:' twice.log; do sleep 0.02; done
kill -INT $pid
sleep 0.2
kill -0 $pid 2>/dev/null || fail "the first signal ended the step: $(cat twice.log)"
kill -TERM $pid
ended "a second signal of another kind" 143

# One writer at a time, also while the first one is stopped; a kill leaves nothing in the way.
begin one "$program" train run.toml --run one $long
kill -STOP $pid
before=$(cat one/config.toml one/metrics.jsonl | cksum)
expect "a second training" 4 "one: expected no other writer, got one at work: process $pid on " \
  "$program" train run.toml --run one --resume
[ "$(cat one/config.toml one/metrics.jsonl | cksum)" = "$before" ] || fail "the second training wrote"
kill -KILL $pid
wait $pid 2>/dev/null
expect "after a kill before the first checkpoint" 0 "one/model" "$program" train run.toml --run one --resume

# What cannot be read is not started over.
cp -r whole cut
truncate -s 100 cut/checkpoints/step-000000{20,30}/model.safetensors
rm -r cut/model
before=$(find cut -type f -exec cksum {} + | sort)
expect "a run whose checkpoints are damaged" 3 "step-00000030/model.safetensors: expected" "$program" train run.toml --run cut --resume
expect "the same without --resume" 3 "step-00000030/model.safetensors: expected" "$program" train run.toml --run cut
[ "$(find cut -type f -exec cksum {} + | sort)" = "$before" ] || fail "a damaged run was written to"
cp -r whole gone
rm -r gone/checkpoints
expect "a run without its checkpoints" 3 "gone/checkpoints: expected the checkpoints of this run, got none" \
  "$program" train run.toml --run gone
expect_refused() {  # NAME FOLDER MESSAGE: exit code 3, and nothing in the folder changed
  local before=$(find "$2" ! -type d -exec ls -l {} + ; find "$2" -type f -exec cksum {} + | sort)
  expect "$1" 3 "$3" "$program" train run.toml --run "$2" --resume
  [ "$(find "$2" ! -type d -exec ls -l {} + ; find "$2" -type f -exec cksum {} + | sort)" = "$before" ] ||
    fail "$1: the folder was written to"
}
rm -r gone/model
: >gone/history.jsonl
expect_refused "a history that is empty" gone "gone/metrics.jsonl is there, without a history.jsonl"
rm gone/history.jsonl gone/metrics.jsonl
expect_refused "a file of another's" gone "gone/config.toml is there, without a history.jsonl"
rm gone/config.toml
ln -s nowhere gone/model
expect_refused "a model on a disk that is away" gone "its model is there"
rm gone/model
mkdir -p gone/checkpoints/step-00000020.damaged
expect_refused "checkpoints that were set aside" gone "step-00000020.damaged is there"
cp -r whole fifo
rm fifo/checkpoints/*/manifest.json
for folder in fifo/checkpoints/*; do mkfifo "$folder/manifest.json"; done
expect "checkpoints that are pipes" 3 "expected a regular file" timeout 20 "$program" train run.toml --run fifo --resume
cp -r whole older
rm -r older/checkpoints/step-00000030
expect "the newest checkpoint is gone" 0 "checkpoint of step 30, which is gone: going on from step 20" \
  "$program" train run.toml --run older --resume
expect "a shorter run" 2 "train.steps: expected at least the 30 updates" \
  "$program" train run.toml --run whole --resume --set train.steps=20
grep -q '^steps = 30' whole/config.toml || fail "config.toml says what was not computed"
grep -q '"event":"complete","step":30,.*"peak_memory_bytes":' whole/history.jsonl || fail "no history of a whole run"
"$program" --version | grep -qE '^[0-9.]+ \(([0-9a-f]{12}\+?|unknown)\)$' || fail "--version: $("$program" --version)"

expect "a rate that explodes" 5 "step " "$program" train run.toml --run bad --set train.schedule.lr=1e30
expect "a typing error" 2 "did you mean train.batch_sequences?" "$program" train run.toml --set train.batch_sequence=4
expect "no such data" 3 "expected a dataset folder" "$program" train run.toml --run x --set data.train=nowhere
finish
