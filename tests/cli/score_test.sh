#!/bin/bash
# troupe score: tensors in and tensors out; and a model in several files, which every command takes like one in a file.
# Usage: score_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

tensors() { python3 "$tests/tensors.py" "$@"; }
expect "a model" 0 "" "$program" convert "$2/golden/fairseq-small/moe" moe
tensors write ids.safetensors src=4,5,6,7:8,9,10,11 tgt=5,6,-1,8:9,10,11,-7
score() { "$program" score --model "$@"; }

expect "score" 0 '"schema":"troupe.score/1","tokens":6,' score moe --tokens ids.safetensors --out a.safetensors --greedy
sum=$(sed -n 's/.*"nll_sum":\([0-9.]*\).*/\1/p' out)
tensors read a.safetensors >a || fail "what score wrote"
awk -v sum="$sum" '
  $1 == "logprobs" { for (i = 2; i <= NF; ++i) { total -= $i; if ($i > 0) bad = 1; if ($i == 0) ++zeros } }
  $1 == "greedy" { for (i = 2; i <= NF; ++i) if ($i != 0 && $i != 1) bad = 1; ++greedy }
  END { exit bad || zeros != 2 || !greedy || (total - sum) ^ 2 > 1e-8 }' a || { fail "log-probabilities: sum $sum"; cat a; }
expect "score again" 0 "" score moe --tokens ids.safetensors --out b.safetensors --greedy
cmp a.safetensors b.safetensors || fail "score: other bytes the second time"
expect "score: without greedy" 0 "" score moe --tokens ids.safetensors --out c.safetensors
tensors read c.safetensors | grep -q greedy && fail "score: greedy unasked"
expect "score: capacity" 0 '"capacity":"0.25"' score moe --tokens ids.safetensors --out c.safetensors --capacity 0.25

# Refused: flags, then what the file holds, by tensor and element; nothing is written.
expect "score: no flags" 2 "--model" "$program" score
expect "score: capacity of what" 2 "expected " score moe --tokens ids.safetensors --out x --capacity all
expect "score: no file" 3 "none.safetensors" score moe --tokens none.safetensors --out x
expect "score: no model" 3 "expected a model" score nowhere --tokens ids.safetensors --out x
tensors write big.safetensors src=4,99999 tgt=5,6
expect "score: an id" 3 "src[0, 1]: expected an id >= 0 and < " score moe --tokens big.safetensors --out x
tensors write big.safetensors src=4,5 tgt=5,99999
expect "score: a target" 3 "tgt[0, 1]: expected an id (negative: not scored) < " score moe --tokens big.safetensors --out x
tensors write shape.safetensors src=4,5 tgt=5,6,7
expect "score: shapes" 3 "tgt: expected I64 [1, 2]" score moe --tokens shape.safetensors --out x
tensors write empty.safetensors src= tgt=
expect "score: nothing" 3 "src: expected I64 [B, S] with B, S >= 1" score moe --tokens empty.safetensors --out x
tensors write missing.safetensors src=4,5
expect "score: no targets" 3 "tgt" score moe --tokens missing.safetensors --out x
[ ! -e x ] || fail "score: what was refused wrote a file"

# A model in two files.
cats 60 >text.txt
expect "a tokenizer" 0 "" "$program" tokenizer train --vocab-size 280 --out tok text.txt
expect "shards" 0 "" "$program" encode --tokenizer tok --out data text.txt
cat >run.toml <<'END'
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 32
vocab_size = 280
context = 32
[model.moe]
num_experts = 4
[train]
steps = 4
batch_sequences = 2
precision = "fp32"
log_every = 1
[data]
train = ["data"]
valid = ["data"]
END
expect "a run" 0 "" "$program" train run.toml --run run
cp -r run parts
python3 "$tests/split_model.py" parts/model
for model in run parts; do "$program" inspect $model/model --json --stats | sed 's/"path":"[^"]*"//' | sort >$model.lines; done
[ "$(wc -l <run.lines)" -gt 20 ] && diff run.lines parts.lines || fail "two files: inspect"
# same WHAT COMMAND...: the same lines of both, but for times and the name of the folder.
same() {
  local what=$1
  shift
  for model in run parts; do
    "$program" "$@" --model $model/model --json 2>log | sed -E "s/\"(model|out)\":\"[^\"]*\"//g; s/[a-z_]+_s\":[0-9.e+-]+//g; s/\"provenance\".*//" >$model.lines
    [ -s $model.lines ] || { fail "$what: $model: no line"; cat log; }
  done
  cmp run.lines parts.lines || { fail "two files: $what"; cat run.lines parts.lines; }
}
same "eval ppl" eval ppl --data text.txt
expect "a checkpoint and the model exported from it" 0 "" "$program" eval ppl --model run/model --data text.txt --json
exported=$(grep -o '"model_checksum":"[^"]*"' out)
expect "... are one model" 0 "$exported" "$program" eval ppl --model run --data text.txt --json
[ -n "$exported" ] || fail "no model_checksum"
same "generate" generate --prompt "The" --max-tokens 10 --seed 3
tensors write ids.safetensors src=4,5,6,7 tgt=5,6,7,8
same "score" score --tokens ids.safetensors --out scores.safetensors
for model in run parts; do expect "two files: convert $model" 0 "" "$program" convert $model/model $model-joined; done
expect "... to one" 0 "" cmp run-joined/model.safetensors parts-joined/model.safetensors
expect "two files: report" 0 "x.html" "$program" report parts --out x.html
expect "two files: resumed" 0 "" "$program" train run.toml --run parts --resume --set train.steps=6
expect "... as one" 0 "" "$program" train run.toml --run run --resume --set train.steps=6
expect "... to the same weights" 0 "" cmp run/model/model.safetensors parts/model/model.safetensors
python3 "$tests/split_model.py" parts/model
rm parts/model/model-00002-of-00002.safetensors
expect "two files, one missing" 3 "model-00002-of-00002.safetensors" "$program" eval ppl --model parts/model --data text.txt
finish
