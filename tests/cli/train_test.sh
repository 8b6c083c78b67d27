#!/bin/bash
# troupe encode and troupe train as users run them: a run that gets SIGTERM and is resumed ends like one that does not.
# Usage: train_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

for i in $(seq 1 400); do
  printf 'The %sth cat sat on mat number %s.\n\n' $((i % 7)) $((i % 11))
done >text.txt
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

expect "a rate that explodes" 5 "step " "$program" train run.toml --run bad --set train.schedule.lr=1e30
expect "a typing error" 2 "did you mean train.batch_sequences?" "$program" train run.toml --set train.batch_sequence=4
expect "no such data" 3 "expected a dataset folder" "$program" train run.toml --run x --set data.train=nowhere
finish
