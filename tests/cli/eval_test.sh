#!/bin/bash
# troupe eval as users run it: tasks of which one has no file and one a broken one, an evaluation killed again and again
# that goes on from its journal, results of two models on one page.
# Usage: eval_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"

cats 60 >text.txt
small_model 2 64 >base.toml
cat >>base.toml <<'END'
[train]
steps = 4
batch_sequences = 2
precision = "fp32"
[data]
train = ["shards"]
END
printf 'base = "base.toml"\n[model.moe]\nnum_experts = 4\n' >moe.toml
"$program" encode --tokenizer "$2/gpt2-bpe" --out shards text.txt >/dev/null 2>&1
for name in base moe; do expect "train $name" 0 "$name/model" "$program" train $name.toml --run $name; done

mkdir -p data/piqa data/copa data/rte
for i in $(seq 1 600); do
  echo "{\"goal\": \"reach goal $i of $((i % 13))\", \"sol1\": \"walk to number $((i % 7))\", \"sol2\": \"stay at $((i % 5)) for a while\"}"
done >data/piqa/valid.jsonl
for i in $(seq 1 600); do echo $((i % 3 == 0)); done >data/piqa/valid-labels.lst
cp data/piqa/valid.jsonl data/piqa/train.jsonl && cp data/piqa/valid-labels.lst data/piqa/train-labels.lst
echo '{"premise": "It rained.", "choice1": "It was wet.", "choice2": "It was dry.", "question": "effect", "label": 2, "idx": 0}' >data/copa/val.jsonl
for i in 0 1 2; do
  echo "{\"premise\": \"A cat sat $i.\", \"hypothesis\": \"It sat.\", \"label\": \"entailment\", \"idx\": $i}"
done >data/rte/val.jsonl

tasks() { "$program" eval tasks --model base --data-dir data "$@"; }
expect "the folder from the environment" 0 "[there]" env TROUPE_TASK_DATA=data "$program" eval tasks --list
expect "one broken task" 3 "data/copa/val.jsonl:1: label: expected one of 0, 1, got 2" tasks --tasks copa
expect "the others go on" 3 "not evaluated because of their data: copa, wsc" tasks --tasks copa,rte,wsc --json
expect "... with their results" 3 '"task":"rte","convention":"harness","metric":"acc"' tasks --tasks copa,rte,wsc --json
expect "a file that is missing" 3 "expected val.jsonl in data/wsc, got no such file (published: super.gluebenchmark.com, WSC.zip)" \
  tasks --tasks wsc
rm -r data/copa
expect "all that is there" 0 "copa: not evaluated: no val.jsonl or copa-dev.xml in data/copa" tasks --tasks all --limit 3
expect "an unknown task" 2 "(did you mean piqa?" tasks --tasks piqqa

# Killed at any moment, the evaluation goes on: the same results, and nothing that the journal holds is scored again.
tasks --tasks piqa --json >whole.jsonl 2>/dev/null
lines() { cat journal.jsonl 2>/dev/null | wc -l; }
kills=0
for attempt in $(seq 1 20); do
  [ $kills -lt 3 ] || break
  before=$(lines)
  # Not the function: the process to kill is the program itself.
  "$program" eval tasks --model base --data-dir data --tasks piqa --json --journal journal.jsonl >partial.jsonl 2>log &
  while kill -0 $! 2>/dev/null && [ "$(lines)" -le $((before + 20 * (kills + 1))) ]; do :; done
  kill -9 $! 2>/dev/null
  wait $! 2>/dev/null
  status=$?
  [ "$(lines)" -ge "$before" ] || fail "the journal lost lines"
  if [ $status -eq 137 ]; then kills=$((kills + 1)); else rm -f journal.jsonl; fi  # it had ended: begin again
done
[ $kills -gt 0 ] || fail "never interrupted"
known=$(wc -l <journal.jsonl)
expect "going on" 0 "requests" tasks --tasks piqa --json --journal journal.jsonl
grep '"schema"' out >resumed.jsonl
cmp -s whole.jsonl resumed.jsonl || fail "interrupted $kills times, other results"
taken=$(sed -n 's/.*requests (\([0-9]*\) from the journal.*/\1/p' out)
[ "$taken" -ge "$known" ] || fail "$known answers in the journal, $taken taken"
[ "$(sort journal.jsonl | uniq -d | wc -l)" -eq 0 ] || fail "scored twice"
echo "killed $kills times, $known answers kept"

# Two evaluations on one journal: the second says so and writes nothing, also while the first is stopped.
for attempt in $(seq 1 20); do
  rm -f shared.jsonl
  "$program" eval tasks --model base --data-dir data --tasks piqa --json --journal shared.jsonl >first.jsonl 2>log &
  first=$!
  while kill -0 $first 2>/dev/null && [ ! -s shared.jsonl ]; do :; done
  kill -STOP $first 2>/dev/null && break  # otherwise it had ended: again
done
before=$(cksum <shared.jsonl)
expect "a journal that another writes" 4 "shared.jsonl: expected no other writer, got one at work: process $first on " \
  tasks --tasks rte --journal shared.jsonl
[ "$(cksum <shared.jsonl)" = "$before" ] || fail "the second evaluation wrote to the journal"
kill -CONT $first
wait $first || fail "the first evaluation did not go on"
cmp -s whole.jsonl first.jsonl || fail "the first evaluation gave other results"
expect "the journal when it is free" 0 "(2400 from the journal)" tasks --tasks piqa --journal shared.jsonl

# Nothing is scored before all files are known to be good: the model is not even looked for.
printf '{"text": "Good."}\n' >good.jsonl && printf '{"txt": "Bad."}\n' >bad.jsonl
expect "perplexity of a broken file" 3 "bad.jsonl:1: text: expected this field, got none" \
  "$program" eval ppl --model base --data good.jsonl --data bad.jsonl --json
grep -q '"nll"' out && fail "a result beside a broken file"
mkdir -p data/crows_pairs data/stereoset
printf ',sent_more,sent_less,bias_type\n0,a,,age\n' >data/crows_pairs/crows_pairs_anonymized.csv
echo '{"data": {"intrasentence": [], "intersentence": []}}' >data/stereoset/dev.json
for set in crows_pairs_anonymized.csv:2 dev.json; do
  expect "bias of a broken file" 3 "$set: " "$program" eval bias --model none --data-dir data --json --sets \
    $([ $set = dev.json ] && echo stereoset || echo crows_pairs)
done
rm -r data/crows_pairs data/stereoset
mkdir data/wsc && cp data/rte/val.jsonl data/wsc/val.jsonl
expect "tasks of broken files" 3 "nothing to evaluate because of the data of wsc, copa" \
  "$program" eval tasks --model none --data-dir data --tasks wsc,copa
rm -r data/wsc
mkdir empty
expect "no data at all" 3 "empty: expected the data of at least one task" \
  "$program" eval tasks --model none --data-dir empty --tasks all

"$program" eval tasks --model moe --data-dir data --tasks piqa,rte --limit 20 --json >moe.jsonl 2>/dev/null
tasks --tasks piqa,rte --limit 20 --json >base.jsonl 2>/dev/null
tasks --tasks piqa --limit 20 --shots 1 --draws 2 --json >shots.jsonl 2>log
expect "examples from the items' own file" 0 '"shots":1' cat shots.jsonl
expect "training in the results" 0 '"train_tokens":468.0,"train_flops":' cat base.jsonl
expect "the page" 0 "page.html" "$program" eval report "dense <b>=base.jsonl" "dense <b>=shots.jsonl" moe=moe.jsonl --out page.html
for part in "dense &lt;b&gt;" "MoE, 4 experts" "Accuracy over training compute" "Gain from shots" "</html>"; do
  expect "the page has $part" 0 "$part" cat page.html
done
grep -qE '<script|src=|url\(|href=.(http|/)' page.html && fail "the page wants other files"
expect "a figure twice" 3 "expected a figure once for each model" "$program" eval report base.jsonl base.jsonl
expect "not results" 3 "text.txt:1: column 1" "$program" eval report text.txt

finish
