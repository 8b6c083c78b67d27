#!/bin/bash
# troupe config, cost, doctor and report as users run them: keys of the JSON forms, exit codes, messages.
# Usage: report_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"

for key in preset params_total params_active train_zflops flops_per_token; do
  expect "cost: $key" 0 "\"$key\":" "$program" cost --preset moe-15b --json
done
# 96 T l h^2 (1 + s/(6h) + V/(16 l h)) + 32 T l h^2 with T = 1e9, s = 1024:
# 679477248e9 * 1.561307 + 226492416e9 = 1.28736e18 FLOPs.
expect "cost: the formula" 0 '"train_zflops":0.00128736' \
  "$program" cost --preset moe-15b --tokens 1e9 --seq-len 1024 --vocab 50000 --json
expect "cost: parameters whatever the vocabulary" 0 '"params_total":14605713408,' \
  "$program" cost --preset moe-15b --vocab 1000 --json
expect "cost: unknown preset" 2 "(did you mean moe-15b?)" "$program" cost --preset moe-15
expect "cost: nothing asked" 2 "expected one of --preset, --config and --table" "$program" cost

for key in cpu isa threads memory_bytes peak_bf16_flops peak_fp32_flops bandwidth_bytes_per_s mpi backends; do
  grep -qF "\"$key\":" <<<"${doctor:=$("$program" doctor --json)}" || fail "doctor: $key"
done

cats 100 >text.txt
small_model 2 32 >base.toml
cat >>base.toml <<'END'
[train]
steps = 4
batch_sequences = 2
precision = "fp32"
log_every = 1
[data]
train = ["data"]
valid = ["same <b>=data"]
END
cat >moe.toml <<'END'
base = "base.toml"
[model.moe]
num_experts = 4
END
expect "config show: base" 0 "num_layers = 2  # base.toml:2" "$program" config show moe.toml
expect "config show: override" 0 "num_experts = 8  # --set" "$program" config show moe.toml --set model.moe.num_experts=8
expect "config show: key" 2 "(did you mean model.moe.num_experts?)" \
  "$program" config show moe.toml --set model.moe.num_expert=8
sed -i 's/num_experts = 4/num_experts = "12"/' moe.toml
expect "config show: type" 2 'moe.toml:3: model.moe.num_experts: expected a whole number in [0, 65536], got "12"' \
  "$program" config show moe.toml
sed -i 's/num_experts = "12"/num_experts = 4/' moe.toml
expect "cost: a configuration's own micro-batch" 0 '"precision":"fp32","micro_batch":2,' \
  "$program" cost --config moe.toml --set train.precision=fp32 --set train.batch_sequences=2 --json
expect "cost: unless told" 0 '"precision":"bf16","micro_batch":7,' \
  "$program" cost --config moe.toml --precision bf16 --micro-batch 7 --json
expect "cost: total" 0 '"total_recompute":' "$program" cost --config moe.toml --json
printf '%s\n' 'gb_per_rank = 0.001' 'tflops = 1' >cluster.toml
expect "cost: a plan that fits nowhere" 1 "too large" "$program" cost --preset moe-15b --plan cluster.toml
expect "cost: the same in JSON" 1 "cluster.toml: nothing fits into 0.001 GB a rank" \
  "$program" cost --preset moe-15b --plan cluster.toml --json
grep -q '"fits":false,"best":false' out || fail "cost: lines of a plan that fits nowhere: $(cat out)"
expect "cost: sizes that cannot be" 2 "expected at most 1e+16 parameters" \
  "$program" cost --config moe.toml --set model.num_layers=4096 --set model.d_model=1048576 --set model.num_heads=1
expect "config show: rules" 2 "train.micro_sequences: expected a divisor of train.batch_sequences" \
  "$program" config show moe.toml --set train.batch_sequences=4 --set train.micro_sequences=3
for wrong in train.steps=0 'data.train=[]' model.num_heads=3 train.precision=fp8; do
  for command in "config show" "train"; do
    expect "$command: $wrong" 2 ": expected" "$program" $command moe.toml --set "$wrong"
  done
done
expect "a choice" 2 "--precision: expected one of auto, fp32, bf16, got fp8 (did you mean fp32?)" \
  "$program" score --model none --tokens none --out none --precision fp8
expect "train: no memory for it" 4 "(train.micro_sequences and train.recompute need less; --ignore-memory starts anyway)" \
  "$program" train moe.toml --set data.train=nowhere --set model.vocab_size=16777216 --set model.d_model=1048576 \
  --set model.num_heads=1
expect "help of a command" 0 "--vocab-size" "$program" help tokenizer train
expect "a key as a flag" 2 "(did you mean --set train.batch_sequences=...?)" "$program" train moe.toml --batch-sequences 4
expect "a mistyped flag" 2 "(did you mean --resume?)" "$program" train moe.toml --resme
expect "version" 0 "." "$program" -V
expect "cost of a configuration" 0 '"tokens":256.0' "$program" cost --config moe.toml --json

"$program" encode --tokenizer "$2/gpt2-bpe" --out data text.txt >/dev/null 2>&1
for name in base moe; do expect "train $name" 0 "$name/model" "$program" train $name.toml --run $name; done
expect "report" 0 "both.html" "$program" report dense=base "sparse <i>=moe" --out both.html
expect "report: escaped" 0 "sparse &lt;i&gt;" cat both.html
expect "report: colours" 0 "pairs" python3 "$tests/contrast.py" both.html
expect "report: end" 0 "</html>" cat both.html
expect "report: not a run" 3 "data: expected the folder of a run, got one without a config.toml" "$program" report data
expect "report: nothing" 3 "nothing: expected the folder of a run, got nothing of this name" "$program" report nothing
expect "report: one name twice" 2 "expected each name once, got base twice" "$program" report base base

finish
