#!/bin/bash
# tools/finetune_pair.py: the order of its trainings, some at once, what a failure and the end of the time leave, and the tables.
# The settings are those of the program; what trains is a stand-in, whose figures are known.
# usage: finetune_pair_test.sh PROGRAM SOURCE
. "$(dirname "$0")/expect.sh"
tools=$2/tools

# Of seed S dense scores 0.6 + S / 100 and MoE 0.02 + S / 1000 more, but for settings named here. It notes what it was asked.
cat >troupe <<'END_OF_PROGRAM'
#!/usr/bin/env python3
import json, os, pathlib, sys, time
args = sys.argv[1:]
value = lambda flag: args[args.index(flag) + 1]
settings = dict(args[i + 1].split('=', 1) for i, arg in enumerate(args) if arg == '--set')
run = pathlib.Path(value('--run'))
if 'train' in args:
    (run / 'model').mkdir(parents=True)
    (run / 'model' / 'config.json').write_text('{}')
    for file in 'train.log', 'config.toml':
        (run / file).write_text('')
    (run / 'metrics.jsonl').write_text(json.dumps({'schema': 'troupe.train/1', 'tokens_per_s': 1000 + int(settings['train.seed'])}) + '\n')
    print(*args, file=open(os.environ['TRAINED'], 'a'))
    sys.exit()
print(run, file=open('asked', 'a'))
if settings.get('finetune.freeze') == os.environ.get('FAILS', '-'):
    sys.exit('error: as the test wanted')
time.sleep(float(os.environ.get("TAKES", "0")))
seed, moe = int(settings['finetune.seeds']), '/moe/' in str(run)
accuracy = 0.6 + seed / 100 + moe * (0.02 + seed / 1000)
if settings['finetune.lr'] == '0.003':
    accuracy += 0.1
if settings['finetune.lr'] == '0.01':
    accuracy += 0.05
nll = 'finetune.text' in settings
for folder in 'checkpoints', 'best', 'model':
    (run / folder).mkdir(parents=True, exist_ok=True)
for file in 'metrics.jsonl', 'train.log', 'config.toml':
    (run / file).write_text('')
print(json.dumps({'schema': 'troupe.finetune_result/1', 'task': 'man_pages' if nll else 'sst2', 'split': 'v', 'chosen_by': 'v',
                  'metric': 'nll' if nll else 'acc', 'n': 100, 'zero_shot': 0.5 + moe / 1000, 'value': 1 - accuracy if nll else accuracy,
                  'values': [accuracy], 'lr': float(settings['finetune.lr']), 'epochs': [3], 'seeds': [seed]}))
END_OF_PROGRAM
chmod +x troupe
for model in dense moe; do for seed in 1 2 3; do mkdir -p pair/$model/seed-$seed/model; done; done
pair() {
  expect "$1" "$2" "$3" "$tools/finetune_pair.py" ./troupe pair tasks "${@:4}"
  [ "$2" = 1 ] || ! grep FAILED out || fail "$1"
}

pair "a study" 0 "exclude zero; by chance" made --text man_pages=x --lr 1e-3 --jobs 3 --go --work work
row() { grep -qF -- "$1" made.md || fail "expected the row $1, got: $(cat made.md)"; }
"$tools/finetune_tables.py" made/results.jsonl >made.md || fail "tables"
row '| zero-shot | 0.5000 ± 0.0000 | 0.5010 ± 0.0000 | **+0.0010 ± 0.0000** | 3, 3 |'
# Half of it: t(2) = 4.303 times 0.01 (dense), 0.011 (MoE) and 0.001 (pairs) by the root of 3.
row '| default | 0.6200 ± 0.0248 | 0.6420 ± 0.0273 | **+0.0220 ± 0.0025** | 3, 3 |'
row '| rate x 3 | 0.7200 ± 0.0248 | 0.7420 ± 0.0273 | **+0.0220 ± 0.0025** | 3, 3 |'
row '| rate / 3 | 0.6100 | 0.6310 | +0.0210 | 1, 1 |'
row '| router frozen |  | 0.6310 |  | 0, 1 |'
row '| the best of each (rate x 3; rate x 3) |'
row '| rate x 3 | **+0.1000 ± 0.0000** | **+0.1000 ± 0.0000** |'
row '| default | **+0.1200 ± 0.0248** | **+0.1410 ± 0.0273** | **+0.0210 ± 0.0025** |'  # beside zero-shot
row '| rate x 3 | 0.2800 ± 0.0248 | 0.2580 ± 0.0273 | **-0.0220 ± 0.0025** | 3, 3 |'
[ -z "$(find work -type f)" ] || fail "work keeps $(find work -type f)"
[ -f made/sst2/moe/rate-x-3/seed-2/metrics.jsonl ] || fail "no metrics"
[ "$(sort asked | uniq -d)" = "" ] || fail "trained twice: $(sort asked | uniq -d)"
head -10 asked | grep -qv /default/ && fail "expected the defaults first, got $(head -10 asked)"  # three at once
[ "$(grep -c rate-x-10 asked)" = 12 ] || fail "expected the two best with all seeds of both models and data, got $(grep rate-x-10 asked)"
rm asked
pair "nothing is done twice" 0 "rate x 3" made --text man_pages=x --lr 1e-3 --go
[ ! -e asked ] || fail "trained again: $(cat asked)"
pair "a seed without models" 0 "pair/dense/model: no such model: nothing is trained from it" made --lr 1e-3 --go --seeds 4
[ ! -e asked ] || fail "trained from no model: $(cat asked)"
pair "named settings, of other tasks too" 0 "exclude zero" named --go --limit 0 --others mnli --settings "rate x 3,capacity 1"
[ "$(grep -c mnli asked)" = 15 ] || fail "expected two settings of both models and one of MoE, three seeds each, got $(cat asked)"
rm asked

# One that fails is said, the others are trained.
FAILS=router pair "a failure" 1 "sst2, moe, router frozen, seed 1: FAILED: exit code 1: error: as the test wanted" failed --go --seeds 1
grep -q '"setting": "only experts"' failed/results.jsonl || fail "the others were not trained"
grep -q 'router frozen' failed/results.jsonl && fail "a failure has a result"
# At the end of the time, or when it is asked to end, what is finished is there, and what runs is neither a failure nor there.
pair "no time" 0 "" never --go --minutes 0
[ ! -s never/results.jsonl ] || fail "trained without time: $(cat never/results.jsonl)"
TAKES=0.3 "$tools/finetune_pair.py" ./troupe pair tasks late --go --seeds 1 >late.log 2>&1 &
pid=$!
while [ ! -s late/results.jsonl ] && kill -0 $pid 2>/dev/null; do sleep 0.05; done
kill -TERM $pid
wait $pid || fail "asked to end: exit code $?: $(cat late.log)"
grep -q 'dense' late/results.jsonl || fail "nothing is kept"
grep -q 'router noise' late/results.jsonl && fail "it did not end"
grep -q FAILED late.log && fail "what was ended failed: $(cat late.log)"
rm -r pair/moe/seed-3
pair "a model that is not there" 0 "pair/moe/model: no such model" fewer --go
grep -q '"family": "moe", "setting": "default", "seed": 2' fewer/results.jsonl || fail "no pair of seed 2"
grep -q '"family": "moe", "setting": "default", "seed": 3' fewer/results.jsonl && fail "trained from no model"
expect "a setting that is none" 2 "--settings: expected some of default, rate x 3, " "$tools/finetune_pair.py" ./troupe pair tasks none --settings x
expect "usage of the tables" 2 "finetune_tables.py RESULTS.jsonl" "$tools/finetune_tables.py"

# On a GPU all of it in the time given: a speed, six models, their fine-tunings; further seeds and tasks are for longer times.
mkdir -p ft/data/news ft/tasks gpu && touch ft/man_pages.jsonl && tar -c ft | xz >ft.tar.xz && rm -r ft
export TRAINED=$PWD/trained TROUPE=$PWD/troupe FINETUNE_DATA=$PWD/ft.tar.xz DEVICE=cpu JOBS=3
expect "a study in 60 s" 0 "12 fine-tunings are finished (exit code 0)" "$tools/gpu/finetune.sh" gpu 60 --limit 0 --seeds 3 \
  --settings "rate x 3"
grep -q ': 100000 tokens for each model' out || fail "expected the fewest tokens at 1,001 a second, got $(cat out)"
[ "$(grep -c 'train.steps=60' trained)" = 6 ] && [ "$(grep -c 'train.tokens=100000' trained)" = 6 ] || fail "trained: $(cat trained)"
[ "$(grep -c 'model.moe.expert_d_ff=512' trained)" = 6 ] || fail "expected experts in half of them: $(cat trained)"
[ -f gpu/pair/moe/seed-3/metrics.jsonl ] && grep -q '"device": "cpu"' gpu/results.jsonl && [ -s gpu/tables.md ] || fail "no results"
[ -z "$(find gpu -name model)" ] || fail "weights stay"
FAILS=router expect "one that fails" 1 "router frozen, seed 2: FAILED" bash -c '"$0/gpu/finetune.sh" two 60 --limit 0 --settings "router frozen"; \
  code=$?; cat two/finetune.log; exit $code' "$tools"
[ "$(grep -c '"learnt": "domain".*default' two/results.jsonl)" = 6 ] || fail "the others were not trained: $(cat out)"
expect "no data" 4 "none.tar.xz: expected text and tasks" env FINETUNE_DATA=none.tar.xz "$tools/gpu/finetune.sh" gpu 60
expect "no program" 4 "expected the program, got none" env TROUPE=none "$tools/gpu/finetune.sh" gpu 60
expect "no folder" 2 "usage: finetune.sh OUT" "$tools/gpu/finetune.sh"
unset TROUPE FINETUNE_DATA DEVICE

# Every setting is one that the program takes.
cats 40 >text.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null || fail "tokenizer"
"$program" encode --tokenizer tok --out data text.txt >/dev/null || fail "encode"
for model in dense moe; do
  { printf '%s\n' '[model]' 'num_layers = 2' 'd_model = 16' 'num_heads = 2' 'd_ff = 24' 'vocab_size = 300' 'context = 48'
    [ $model = dense ] || printf '%s\n' '[model.moe]' 'num_experts = 4'
    printf '%s\n' '[train]' 'steps = 1' 'batch_sequences = 2' '[data]' 'train = ["data"]'; } >$model.toml
  "$program" train $model.toml --run real/$model >log 2>&1 || fail "train: $(cat log)"
done
mkdir -p tasks/sst2
for split in train dev; do printf 'sentence\tlabel\ngood cat \t1\nbad mat \t0\n' >tasks/sst2/$split.tsv; done
expect "the plan" 0 "man_pages" "$tools/finetune_pair.py" "$program" real tasks none --text man_pages=text.txt --seeds 1
for setting in "router noise 0.1" "only chosen experts" "rest x 10" "adapters of all" "capacity 1"; do
  grep -q "^sst2, moe, $setting, seed 1:" out || fail "no plan of $setting: $(cat out)"
done
[ ! -e none ] || fail "a plan writes"
finish
