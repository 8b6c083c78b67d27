#!/bin/bash
# troupe study and troupe report as users run them: a tiny study ends, is read back, and refuses names that would hide or
# overwrite something.
# Usage: study_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

# Chinese under a vocabulary of little more than bytes: samples end within a character. The held-out domain has the name
# of the one trained on, and one document, so that no standard error can be had.
cp -r "$2/corpus" corpus
cat >dense.toml <<'END'
[model]
num_layers = 2
d_model = 32
num_heads = 2
d_ff = 64
vocab_size = 300
context = 32
[train]
batch_sequences = 8
precision = "fp32"
log_every = 1
[train.schedule]
lr = 3e-3
END
cat >moe.toml <<'END'
base = "dense.toml"
[model.moe]
num_experts = 4
expert_d_ff = 32
END
cat >study.toml <<'END'
[study]
corpus = "corpus"
vocab_size = 300
models = ["dense=dense.toml", "moe=moe.toml"]
tokens = 4000
prompts = ["中国"]
sample_tokens = 20
END

# Names become folders: refused with file and line before anything is made.
for name in '../x' data DATA summary.json '' ' a' '..' 'v1.' writer.tmp-lock; do
  sed "s#\"moe=#\"$name=#" study.toml >names.toml
  expect "study: a model called '$name'" 2 "names.toml:4: study.models: expected " "$program" study names.toml --out no
done
sed 's#"moe=#"dense=#' study.toml >names.toml
expect "study: one name twice" 2 "names.toml:4: study.models: expected each name once, got dense twice" \
  "$program" study names.toml --out no
sed 's#"moe=#"Dense=#' study.toml >names.toml
expect "study: names that differ in letter case" 2 "names.toml:4: study.models: expected names that differ in more than letter case" \
  "$program" study names.toml --out no
expect "study: a model that is not there" 2 "nothing.toml: expected a configuration file" \
  "$program" study study.toml --out no --set 'study.models=["a=nothing.toml"]'
expect "study: a path that is not UTF-8" 2 "expected a folder whose path is UTF-8" \
  "$program" study study.toml --out $'no\xff'
sed 's#"domain": "a"#"domain": "../a"#' corpus/manifest.json >manifest && mv manifest corpus/manifest.json
expect "study: a domain called ../a" 3 "parts[0].domain: expected a name that a folder can have" \
  "$program" study study.toml --out no
cp "$2/corpus/manifest.json" corpus/manifest.json
[ ! -e no ] && [ ! -e $'no\xff' ] || fail "a study that was refused left a folder"

expect "study" 0 "o/report.html" "$program" study study.toml --out o
grep -qF 'a (held out)' out || fail "study: the held-out domain beside the one of its name"
grep -qE 'moe - dense: a \(held out\) +1 +[-+]?[0-9.]+ +unknown' out || fail "study: a difference over one document is unknown"
expect "study: samples are cut characters" 0 $'\xef\xbf\xbd' cat o/summary.json
expect "study: one document has no standard error" 0 '"standard_error": null' cat o/dense/evaluation.json
evaluation=$(stat -c %i o/dense/evaluation.json)
expect "study again" 0 '"data":"a","held_out":true,' "$program" study study.toml --out o --json
[ "$evaluation" = "$(stat -c %i o/dense/evaluation.json)" ] || fail "study again: evaluated again"
[ "$(grep -c 'troupe.study.comparison/1.*"verdict":' out)" = 2 ] || fail "study: a comparison for each domain"
for text in '<h2>Perplexity</h2>' 'in domain: ' 'held out: ' 'over the documents of these two checkpoints' '(L2) of the last step' \
  'temperature 0.8, seed 1, at most 20 tokens' 'trained by\|from step 0: troupe ' 'the first 4.00k\|all of each set'; do
  grep -q -- "$text" o/report.html || fail "study: the page says $text"
done
expect "study: colours of the page" 0 "pairs" python3 "$tests/contrast.py" o/report.html
grep -q "trained on the same 4.08k tokens" o/report.html || fail "study: the page names the tokens that were trained on"
[ "$(grep -oF '<tr><th scope="row">a</th>' o/report.html | wc -l)" -ge 4 ] || fail "study: the page shows a, and a held out"
grep -q 'over the documents of these two checkpoints' <<<"$("$program" study study.toml --out o 2>/dev/null)" ||
  fail "study: the terminal says what the interval holds"

# Several seeds: a run of each model and seed, and the spread.
sed 's/^tokens.*/tokens = 512\nseeds = [3, 4]/' study.toml >seeds.toml
expect "study: seeds" 0 "over 2 seeds" "$program" study seeds.toml --out s
for run in dense moe; do [ -d s/$run/seed-3/model ] && [ -d s/$run/seed-4/model ] || fail "study: seeds: runs of $run"; done
grep -q '"seed": 4' s/summary.json || fail "study: seeds: summary"
grep -q '<h2>Over seeds</h2>' s/report.html || fail "study: seeds: the page has the spread"
grep -qE 'lower in [0-4] of 4 pairs of trainings' out || fail "study: seeds: how often"
expect "study: seeds again" 0 '"schema":"troupe.study.seeds/1","model":"moe"' "$program" study seeds.toml --out s --json
grep -q '"seeds":\[3,4\],"nll":[0-9.]*,"nll_deviation":[0-9.e-]*,"differences":\[[-0-9.e]*,[-0-9.e]*\]' out ||
  fail "study: seeds: the line"
# The sentence counts what the lines say, better and worse alike.
expected=$(python3 - out <<'END'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
lines = [line for line in lines if line["schema"] == "troupe.study.seeds/1" and line["model"] == "moe"]
better = sum(line["difference"] + line["half_interval"] < 0 for line in lines)
worse = sum(line["difference"] - line["half_interval"] > 0 for line in lines)
print(f"better on {better} of {len(lines)} sets of text, worse on {worse}, undecided on {len(lines) - better - worse}.")
END
)
expect "study: seeds: the verdict" 0 "over seeds $expected" "$program" study seeds.toml --out s
cmp -s s/dense/seed-3/model/model.safetensors s/dense/seed-4/model/model.safetensors && fail "study: seeds that are one"
sed 's/3, 4/3, 3/' seeds.toml >twice.toml
expect "study: a seed twice" 2 "twice.toml:6: study.seeds: expected each seed once, got 3 twice" \
  "$program" study twice.toml --out no
expect "study: no seeds" 2 'study.seeds: expected a list of whole numbers in [0, 1000000000000000], got' \
  "$program" study study.toml --out no --set 'study.seeds=["a"]'

# A model in several files is a model: not trained again, evaluated as it is, and another one if its files change.
cp -r o whole
python3 "$tests/split_model.py" o/dense/model
expect "study: a model in two files" 0 "o/report.html" "$program" study study.toml --out o
[ ! -e o/dense/model/model.safetensors ] || fail "study: a model in two files was trained again"
results() { sed 's/"model": "[0-9a-f]*"//' "$1"; }
[ "$(results whole/dense/evaluation.json)" = "$(results o/dense/evaluation.json)" ] || fail "study: two files, other results"
evaluation=$(stat -c %i o/dense/evaluation.json)
expect "study: two files again" 0 "o/report.html" "$program" study study.toml --out o
[ "$evaluation" = "$(stat -c %i o/dense/evaluation.json)" ] || fail "study: two files were evaluated again"
second=o/dense/model/model-00002-of-00002.safetensors
printf '\001' | dd of=$second bs=1 conv=notrunc status=none seek=$(($(stat -c %s $second) - 4))
expect "study: another second file" 0 "o/report.html" "$program" study study.toml --out o
[ "$evaluation" != "$(stat -c %i o/dense/evaluation.json)" ] || fail "study: the old results of another model"
rm -r o
mv whole o
cp corpus/manifest.json manifest
echo >>corpus/manifest.json
data=$(find o/data -type f -exec cksum {} + | sort)
expect "study: another corpus" 2 "o/data: expected data made from the corpus corpus with 300 tokens, got" \
  "$program" study study.toml --out o
[ "$(find o/data -type f -exec cksum {} + | sort)" = "$data" ] || fail "study: another corpus: data were removed"
mv manifest corpus/manifest.json
mkdir -p mine/data && echo precious >mine/data/notes
expect "study: a data folder of another's" 2 "mine/data: expected the data of this study, got" \
  "$program" study study.toml --out mine
[ -e mine/data/notes ] || fail "study: the files of others were removed"
mkdir -p begun/data/tokenizer && echo '{"unfinished": true}' >begun/data/made-from.json
expect "study: data that were begun" 0 "begun/report.html" "$program" study study.toml --out begun --set study.tokens=512
echo '{"asked": {"tokens": 4000, "max_minutes": 1.0}, "tokens": 18446744073709551615}' >o/plan.json
expect "study: a plan of too many tokens" 3 "o/plan.json: tokens: expected a count, got" \
  "$program" study study.toml --out o --set study.max_minutes=1
echo '{"tokens": -1}' >o/plan.json
expect "study: a damaged plan" 3 "o/plan.json: asked: expected a value, got no such key" \
  "$program" study study.toml --out o --set study.max_minutes=1
rm o/plan.json
echo '{"schema":"troupe.train/1"}' >>o/dense/metrics.jsonl
expect "study: damaged metrics" 3 "o/dense/metrics.jsonl:" "$program" study study.toml --out o
sed -i '$d' o/dense/metrics.jsonl

# What ends alike is told apart.
mkdir -p a b && cp -r o/data/valid/a a/valid && cp -r o/data/heldout/a b/valid
sed 's/^batch_sequences.*/&\nsteps = 2/' dense.toml >train.toml
printf '[data]\ntrain = ["o/data/train/a"]\nvalid = ["a/valid", "b/valid"]\n' >>train.toml
expect "train: two sets called valid" 0 "x/run/model" "$program" train train.toml --run x/run
expect "report" 0 "x.html" "$program" report x/run --out x.html
for set in a/valid b/valid; do
  grep -qF "\"data\":\"$set\"" x/run/metrics.jsonl || fail "metrics: $set"
  grep -qF "<tr><th scope=\"row\">$set</th>" x.html || fail "report: $set"
done
expect "train: one name given twice" 2 "data.valid: expected each name once, got v twice" \
  "$program" train train.toml --run z --set 'data.valid=["v=a/valid", "v=b/valid"]'
cp -r x y
expect "report: two runs called run" 0 "both.html" "$program" report x/run y/run --out both.html
for run in x/run y/run; do grep -qF "<summary>$run</summary>" both.html || fail "report: $run"; done

# Differences by document: of runs by their last validation, of models by the same text, and on a page of results.
for set in a/valid b/valid; do
  grep -qE "<th scope=\"row\">$set</th>.*(undecided|unknown)</small>" both.html || fail "report: no difference of $set"
done
grep -qF 'y/run − x/run' both.html || fail "report: the column of differences"
expect "report: runs on other text" 0 "other.html" "$program" report x/run o/dense --out other.html
grep -qF 'No differences: the models were not scored on the same documents' other.html || fail "report: no pair, said"
expect "eval ppl: two models" 0 "moe - dense: a" "$program" eval ppl --model dense=o/dense moe=o/moe --data a=o/data/valid/a
expect "eval ppl: one model twice" 2 "--model: " "$program" eval ppl --model o/dense o/dense --data a=o/data/valid/a
for model in dense moe; do
  expect "eval ppl: $model" 0 '"document_scores":[[' "$program" eval ppl --model o/$model --data a=o/data/valid/a --json
  grep '^{' out >$model.jsonl
done
expect "eval ppl: both" 0 '"schema":"troupe.eval.comparison/1","model":"moe","baseline":"dense","data":"a"' \
  "$program" eval ppl --model dense=o/dense moe=o/moe --data a=o/data/valid/a --json
grep '^{' out >both.jsonl
expect "eval report: differences" 0 "page.html" "$program" eval report dense=dense.jsonl moe=moe.jsonl --out page.html
expect "eval report: of both" 0 "same.html" "$program" eval report both.jsonl --out same.html
for page in page same; do
  grep -qE 'moe − dense</td><td>[0-9]+</td>' $page.html || fail "eval report: $page: no difference"
done

finish
