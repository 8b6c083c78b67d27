#!/bin/bash
# What troupe eval measures is what its results say: names of data sets that are each other's, paths with a "=", data and
# tokenizers that are not the model's, results of a part of the items.
# Usage: eval_data_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

for i in $(seq 1 60); do printf 'The %sth cat sat on mat number %s.\n\n' $((i % 7)) $((i % 11)); done >text.txt
head -20 text.txt >short.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1
cat >base.toml <<'END'
[model]
num_layers = 1
d_model = 16
num_heads = 2
d_ff = 32
vocab_size = 300
context = 32
[train]
steps = 2
batch_sequences = 2
precision = "fp32"
[data]
train = ["lr=0.1"]
END
"$program" encode --tokenizer tok --out lr=0.1 text.txt >/dev/null 2>&1
expect "a dataset with = in its name" 0 "lr=2/model" "$program" train base.toml --run lr=2 --set 'data.weights=["lr=0.1=3"]'
cp -r lr=2/model model
ppl() { "$program" eval ppl --model model "$@"; }

# Names.
mkdir a b
cp text.txt a/valid.txt && cp short.txt b/valid.txt && cp text.txt 3.10.txt && cp short.txt 3.11.txt
expect "one name for two files" 2 "--data: expected names that differ, got valid for a/valid.txt and b/valid.txt (write NAME=PATH" \
  ppl --data a/valid.txt --data b/valid.txt
expect "a name given to one of two" 2 "got valid for a/valid.txt and b/valid.txt" ppl --data valid=a/valid.txt --data b/valid.txt
expect "files of one set" 0 '"documents":70,' ppl --data valid=a/valid.txt --data valid=b/valid.txt --json
expect "a file twice" 2 "--data: v: expected each file once, got a/valid.txt twice" ppl --data v=a/valid.txt --data v=a/valid.txt
ppl --data 3.10.txt --data 3.11.txt --json >out.jsonl 2>log
[ "$(grep -o '"data":"[^"]*"' out.jsonl | tr '\n' ' ')" = '"data":"3.10" "data":"3.11" ' ] || fail "dots in names: $(cat out.jsonl log)"

# Paths with "=".
expect "a model, data" 0 '"data":"lr=0.1"' "$program" eval ppl --model lr=2 --data lr=0.1 --json
ppl --data text.txt --json >x=1.jsonl 2>log
expect "results" 0 "page.html" "$program" eval report x=1.jsonl --out page.html
expect "a name for them" 0 "page.html" "$program" eval report dense=x=1.jsonl --out page.html
expect "a run" 0 "page.html" "$program" report lr=2 --out page.html
expect "no name" 2 '--data: expected NAME=PATH or PATH, got "=text.txt"' ppl --data =text.txt

finish
