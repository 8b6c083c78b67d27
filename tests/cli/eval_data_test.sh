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
expect "... under another path" 2 "v: expected each file once, got ./a/valid.txt twice" \
  ppl --data v=a/valid.txt --data v=./a/valid.txt
expect "a field of plain text" 2 "text.txt: expected JSON lines, which have a field k, got plain text" ppl --data text.txt --by-field k
printf '{"text":"a b c","k":"x\\ny\\u009b[31m"}\n' >field.jsonl
expect "a field with control characters" 0 'x\x0ay\xc2\x9b[31m' ppl --data field.jsonl --by-field k
expect "a field of ids" 2 "--by-field: expected JSON lines, got token ids, lr=0.1" ppl --data lr=0.1 --by-field k
expect "a stride of blocks" 2 "--stride: expected --mode sliding or documents, got blocks" ppl --data text.txt --stride 4
expect "a mode of fairseq" 2 "--mode excludes --fairseq" ppl --data text.txt --fairseq --mode sliding
ppl --data 3.10.txt --data 3.11.txt --json >out.jsonl 2>log
[ "$(grep -o '"data":"[^"]*"' out.jsonl | tr '\n' ' ')" = '"data":"3.10" "data":"3.11" ' ] || fail "dots in names: $(cat out.jsonl log)"

# Paths with "=".
expect "a model, data" 0 '"data":"lr=0.1"' "$program" eval ppl --model lr=2 --data lr=0.1 --json
ppl --data text.txt --json >x=1.jsonl 2>log
expect "results" 0 "page.html" "$program" eval report x=1.jsonl --out page.html
expect "a name for them" 0 "page.html" "$program" eval report dense=x=1.jsonl --out page.html
expect "a run" 0 "page.html" "$program" report lr=2 --out page.html
expect "no name" 2 '--data: expected NAME=PATH or PATH, got "=text.txt"' ppl --data =text.txt

# Another tokenizer than the model's.
"$program" tokenizer train --vocab-size 290 --out other short.txt >/dev/null 2>&1
"$program" encode --tokenizer other --out foreign text.txt >/dev/null 2>&1
expect "shards of another" 3 "foreign: expected shards written with the tokenizer in model, got some of another" ppl --data foreign
expect "... as told" 0 '"tokenizer":"another"' ppl --data foreign --any-tokenizer --json
expect "text by another" 2 "--tokenizer: expected the model's, in model, got another one, other" ppl --data text.txt --tokenizer other
expect "... as told" 0 "other: not the tokenizer of the model, in model" ppl --data text.txt --tokenizer other --any-tokenizer
expect "the model's by name" 0 '"tokenizer":"same"' ppl --data lr=0.1 --tokenizer tok --json
expect "generation by another" 2 "--tokenizer: expected the model's" \
  "$program" generate --model model --tokenizer other --prompt The --max-tokens 1
cp -r model bare && rm bare/tokenizer.json
expect "a model without" 0 "bare: has no tokenizer: whether lr=0.1 was written" "$program" eval ppl --model bare --data lr=0.1
expect "... in the result" 0 '"tokenizer":"unknown"' "$program" eval ppl --model bare --data text.txt --tokenizer tok --json
train() { "$program" train base.toml --set 'data.train=["lr=0.1"]' "$@"; }
expect "validation of another" 3 'data.valid: foreign: expected the tokenizer of lr=0.1 (' \
  train --run r1 --set 'data.valid=["foreign"]'
expect "... as told" 0 "r1/model" train --run r1 --set 'data.valid=["foreign"]' --set data.any_tokenizer=true
cp -r lr=0.1 exchanged && cp other/tokenizer.json exchanged/
expect "an exchanged tokenizer" 3 "exchanged/tokenizer.json: expected the tokenizer that wrote the shards beside it (" \
  "$program" train base.toml --run r2 --set 'data.train=["exchanged"]'
expect "... beside data" 0 '"tokenizer":"same"' ppl --data exchanged --json

# A part of the items.
mkdir -p data/blimp mine
for group in first second; do
  for i in 1 2 3; do
    echo "{\"sentence_good\": \"The cat sat $i.\", \"sentence_bad\": \"Cat the $i sat.\", \"UID\": \"$group\", \"pairID\": \"$i\"}"
  done >data/blimp/$group.jsonl
done
tasks() { "$program" eval tasks --model model --data-dir data --convention harness "$@"; }
expect "two of each group" 0 " 4 of 6 " tasks --tasks blimp --limit 2
expect "... said" 0 "figures of a part are no results of the task" tasks --tasks blimp --limit 2
tasks --tasks blimp --limit 2 --json >part.jsonl 2>log
[ "$(grep -c '"n":2,.*"left_out":1,"limit":2,' part.jsonl)" -eq 2 ] || fail "groups: $(cat part.jsonl)"
"$program" eval report part.jsonl --out part.html >/dev/null 2>&1
expect "marked on the page" 0 "(a part of the data)" cat part.html
expect "all" 0 '"left_out":0,"limit":null' tasks --tasks blimp --limit 3 --json
expect "a task twice" 2 "--tasks: expected each task once, got blimp twice" tasks --tasks blimp,blimp
cat >mine/blimp.toml <<'END'
name = "blimp"
about = "-"
citation = "-"
published = "-"
folder = "blimp"
evaluate = "all"
[[source]]
format = "jsonl"
files = { all = "first.jsonl" }
[harness]
context = "The"
choices = ["{sentence_good}", "{sentence_bad}"]
metrics = ["acc", "greedy"]
END
expect "a task in the place of another" 0 "blimp: mine/blimp.toml stands for the built-in blimp.toml" \
  tasks --tasks blimp --task-dir mine
tasks --tasks blimp --task-dir mine --json >two.jsonl 2>log
expect "two metrics on one page" 0 "two.html" "$program" eval report two.jsonl --out two.html

finish
