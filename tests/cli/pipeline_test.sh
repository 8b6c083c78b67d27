#!/bin/bash
# From text to a trained, evaluated and used model, as a user would type it. Usage: pipeline_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

# Sentences of a small grammar, a blank line between documents.
awk 'BEGIN {
  srand(7); split("cat dog bird fish horse", noun, " "); split("sees hears follows likes", verb, " ");
  split("small old red happy", adjective, " ");
  for (d = 0; d < 400; ++d) {
    for (s = 0; s < 6; ++s)
      printf "The %s %s %s the %s.%s", adjective[1+int(rand()*4)], noun[1+int(rand()*5)], verb[1+int(rand()*4)],
        noun[1+int(rand()*5)], s < 5 ? " " : "\n\n";
  } }' >text.txt
head -c 4000 text.txt >valid.txt

expect "a tokenizer" 0 "300 tokens" "$program" tokenizer train --vocab-size 300 --out tok text.txt
printf 'The old  cat \xff\x00 caf\xc3\xa9\n' >any_bytes
"$program" tokenizer encode --tokenizer tok <any_bytes >ids 2>out || fail "ids of a text"
"$program" tokenizer decode --tokenizer tok --jsonl --raw <ids 2>out | cmp - any_bytes || { fail "bytes from ids"; cat ids out; }
expect "an id beyond the vocabulary" 3 "300" "$program" tokenizer decode --tokenizer tok --jsonl <<<'{"ids": [300]}'
expect "shards" 0 "400 documents" "$program" encode --tokenizer tok --out data/text text.txt
expect "what shards hold" 0 "documents: 400" "$program" inspect data/text
cat >moe.toml <<'TOML'
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 64
vocab_size = 300
context = 32
[model.moe]
num_experts = 4
expert_d_ff = 32
[train]
steps = 60
batch_sequences = 8
checkpoint_every = 20
[train.schedule]
lr = 1e-2
warmup_fraction = 0.1
[data]
train = ["data/text"]
TOML
expect "training" 0 "run/model" "$program" train moe.toml --run run
expect "a run that exists" 2 "resume" "$program" train moe.toml --run run
expect "an unknown key" 2 "num_experts" "$program" train moe.toml --run other --set model.moe.num_expert=8
expect "metrics" 0 '"step":60' cat run/metrics.jsonl
expect "perplexity" 0 '"bits_per_byte"' "$program" eval ppl --model run/model --data valid=valid.txt --json
# Learned: a uniform guess among 300 tokens has perplexity 300, this text about 2 bits per word.
awk -F'"ppl":' '{ split($2, value, ","); exit !(value[1] < 8) }' out || { fail "perplexity"; cat out; }
expect "generation" 0 '"decode_tokens_per_s"' \
  "$program" generate --model run/model --prompt "The old" --max-tokens 20 --seed 3 --json
cp out first
expect "the same seed" 0 '"text"' "$program" generate --model run/model --prompt "The old" --max-tokens 20 --seed 3 --json
[ "$(grep -o '"text":"[^"]*"' out)" = "$(grep -o '"text":"[^"]*"' first)" ] || fail "same seed, other text"
expect "generation from a run's folder" 0 "The old" "$program" generate --model run --prompt "The old" --max-tokens 3
expect "a report" 0 "report.html" "$program" report run
expect "inspection" 0 "experts" "$program" inspect run/model
expect "a mistyped flag" 2 "did you mean --model" "$program" generate --modle x
expect "no model" 3 "expected a model" "$program" generate --model nowhere --prompt x
# A vocabulary padded beyond the tokenizer's: ids without a token never come, though the model has learned nothing.
expect "padded training" 0 "" "$program" train moe.toml --run padded --set train.steps=1 --set model.vocab_size=4000
for temperature in 0 1; do
  expect "no id without a token" 0 '"text"' "$program" generate --model padded --prompt "The" --max-tokens 40 \
    --temperature $temperature --json --ignore-eos
done
printf '%s\n' '{"text": "fine"}' '{"no": 1}' >bad.jsonl
expect "damaged text" 3 "bad.jsonl:2" "$program" encode --tokenizer tok --out data/bad bad.jsonl

# Interrupted while it waits for more text: nothing is left, and nobody waits.
mkfifo pipe
sleep 600 >pipe &
writer=$!
for signal in INT TERM HUP KILL; do
  "$program" encode --tokenizer tok --out data/waits - <pipe >waits 2>&1 &
  for _ in $(seq 100); do ls data | grep -q 'waits\.tmp-' && break; sleep 0.1; done
  kill -$signal $!
  wait $!
  status=$?
  if [ $signal = KILL ]; then
    ls data | grep -q 'waits\.tmp-' || fail "a killed encode left nothing to test with"
  elif [ $status -ne 130 ] || ls data | grep -q waits; then
    fail "encode after $signal: exit code $status and $(ls data)"
    cat waits
  fi
done
kill $writer
expect "what a killed encode left is removed" 0 "which an interrupted command had left" \
  "$program" encode --tokenizer tok --out data/waits valid.txt
[ "$(ls -d data/waits*)" = data/waits ] || fail "left after the next encode: $(ls -d data/waits*)"
finish
