#!/bin/bash
# troupe finetune as users run it: a task that can be learnt is, a stopped run goes on to the same bits, what has no
# training files is divided by a fixed rule, and bad input is named.
# usage: finetune_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

cats_run 'num_experts = 4' 'expert_d_ff = 12'
"$program" train run.toml --run pre >/dev/null 2>&1 || fail "train"

mkdir -p tasks/storycloze
sky_data
mkdir files
sky_task >files/sky.toml
cat >ft.toml <<'END'
[finetune]
lr = [0.03]
epochs = 10
batch_sequences = 4
tasks = ["files/sky.toml"]
data_dir = "tasks"
[train]
precision = "fp32"
log_every = 1
[model]
dropout = 0
END

expect "a task" 0 "sky" "$program" finetune ft.toml --model pre --run whole --json
grep '"setting":"zero-shot"' out | grep -q '"split":"val","epoch":0' || fail "no zero-shot figure: $(cat out)"
grep '"troupe.finetune_result/1"' out | grep -q '"split":"val","chosen_by":"val","metric":"acc","zero_shot":[0-9.]*,"value":1.0' ||
  fail "not learnt: $(grep result out)"
expect "eval reads it" 0 "sky" "$program" eval tasks --model whole/model --task-dir files --data-dir tasks --tasks sky --convention paper
expect "generate reads it" 0 "" "$program" generate --model whole/model --prompt "the sun" --max-tokens 2
expect "convert reads it" 0 "" "$program" convert whole/model copy
expect "a run that exists" 2 "--resume goes on with it" "$program" finetune ft.toml --model pre --run whole
expect "its own configuration" 0 "acc" "$program" finetune whole/config.toml --run third
cmp whole/model/model.safetensors third/model/model.safetensors || fail "a recorded configuration gives another model"

# A model whose tokenizer is in other files: what is made of it has one all the same.
cp -r pre/model gpt2
python3 - <<'END'
import json, pathlib
folder = pathlib.Path('gpt2')
bpe = json.loads((folder / 'tokenizer.json').read_text())
vocab = bpe['model']['vocab'] | {token['content']: token['id'] for token in bpe['added_tokens']}
(folder / 'vocab.json').write_text(json.dumps(vocab))
merges = [merge if isinstance(merge, str) else ' '.join(merge) for merge in bpe['model']['merges']]
(folder / 'merges.txt').write_text('#version: 0.2\n' + ''.join(merge + '\n' for merge in merges))
END
"$program" encode --tokenizer "$tests/../data/tokenizer/sentencepiece/bpe.model" --out pieces text.txt >/dev/null || fail "encode"
"$program" train run.toml --run of_pieces --set model.vocab_size=500 --set model.eos_id=2 --set data.train=pieces >log 2>&1 ||
  fail "train: $(cat log)"
cp -r of_pieces/model llama
cp "$tests/../data/tokenizer/sentencepiece/bpe.model" llama/tokenizer.model
for model in gpt2 llama; do
  rm $model/tokenizer.json
  expect "a tokenizer in other files: $model" 0 "sky" "$program" finetune ft.toml --model $model --run of_$model --set finetune.epochs=1
  for made in of_$model of_$model/model; do
    expect "generate reads $made" 0 "" "$program" generate --model $made --prompt "the sun" --max-tokens 2
  done
  ids() { echo "the sun, the rain" | "$program" tokenizer encode --tokenizer "$1" 2>/dev/null; }
  [ -n "$(ids $model)" ] && [ "$(ids $model)" = "$(ids of_$model/model)" ] || fail "of_$model/model: another tokenizer"
done

# What was cut off goes on from its checkpoint: the second half is computed again.
"$program" finetune ft.toml --model pre --run half --set train.checkpoint_every=6 --json >half.log 2>&1 &
pid=$!
while [ ! -e half/checkpoints/step-00000006 ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -INT $pid 2>/dev/null
wait $pid
code=$?
[ $code -eq 130 ] || [ $code -eq 0 ] || fail "SIGINT: $code: $(tail -3 half.log)"
expect "resume" 0 "acc" "$program" finetune ft.toml --model pre --run half --set train.checkpoint_every=6 --resume
cmp whole/model/model.safetensors half/model/model.safetensors || fail "a resumed run gives another model"
# And what was killed before its first checkpoint begins again, with one line of each figure.
cp -r whole again
rm -r again/checkpoints again/model again/best
sed -i '1!d' again/history.jsonl
expect "no checkpoint yet" 0 "no checkpoint yet: starting from the beginning" "$program" finetune ft.toml --model pre --run again --resume
[ "$(grep -c '"zero-shot"' again/metrics.jsonl)" = 1 ] || fail "figures of an attempt that left no checkpoint: $(cat again/metrics.jsonl)"
cmp whole/model/model.safetensors again/model/model.safetensors || fail "a run that begins again gives another model"
expect "resume of another rate when all is done" 0 '"lr":0.03,' "$program" finetune ft.toml --model pre --run again --resume --json \
  --set finetune.lr=0.02
grep -q '"troupe.finetune_result/1".*"lr":0.02' out && fail "a rate that nothing was trained with: $(cat out)"
expect "several trainings in the folder of one" 2 "again: expected a folder for 2 trainings, got that of one" "$program" finetune \
  ft.toml --model pre --run again --resume --set finetune.lr=0.02,0.03
expect "resume of another freeze" 2 "finetune.freeze: \"nothing\" in the checkpoint" \
  "$program" finetune ft.toml --model pre --run half --set finetune.freeze=router --resume
other_data() { # MODEL MESSAGE WORDS...
  expect "resume with other data: $2" 2 "ft.toml: $2" "$program" finetune ft.toml --model "$1" --run half --resume "${@:3}"
}
other_data pre "finetune.tasks: expected sky (" --set finetune.train_limit=8
grep -qF " as in the run to resume, got sky (" out && grep -qF "(finetune.train_limit: 0 in the checkpoint, 8 in the" out ||
  fail "what made the data another: $(cat out)"
other_data pre "finetune: expected model, sky as in the run to resume, got model, sky, text.txt (finetune.text: " --set finetune.text=text.txt
other_data pre "finetune.weights: expected sky (" --set finetune.weights=sky=0.5
other_data whole "finetune.model: expected model (checksum "

# Frozen parts stay as they are, and have no moments.
for freeze in experts router all_but_attention all_but_experts all_but_chosen_experts; do
  top_p=$([ $freeze = all_but_chosen_experts ] && echo --set finetune.top_p=0.5)
  expect "freeze $freeze" 0 "acc" "$program" finetune ft.toml --model pre --run "f/$freeze" --set finetune.epochs=1 \
    --set "finetune.freeze=$freeze" $top_p
  python3 - "$freeze" "f/$freeze" <<'END' || fail "freeze $freeze"
import json, pathlib, re, struct, sys
def tensors(path):
    data = path.read_bytes()
    n = struct.unpack('<Q', data[:8])[0]
    return {k: data[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]]
            for k, v in json.loads(data[8:8 + n]).items() if k != '__metadata__'}
freeze, run = sys.argv[1], pathlib.Path(sys.argv[2])
before, after = (tensors(pathlib.Path(p, 'model.safetensors')) for p in ('pre/model', run / 'model'))
moments = {k[2:] for k in tensors(next((run / 'checkpoints').iterdir()) / 'optimizer.safetensors') if k.startswith('m.')}
moved = {k for k in before if before[k] != after[k]}
trained = {'experts': lambda k: '.experts.' not in k, 'router': lambda k: 'router' not in k,
           'all_but_attention': lambda k: '.attn.' in k, 'all_but_experts': lambda k: '.experts.' in k,
           'all_but_chosen_experts': lambda k: k in moments and '.experts.' in k}[freeze]
want = {k for k in before if trained(k)}
assert moments == want, (freeze, moments ^ want)
assert moved <= want and moved, (freeze, moved - want)
if freeze == 'all_but_chosen_experts':
    chosen = {re.search(r'experts\.(\d+)', k)[1] for k in moments}
    assert 0 < len(chosen) < 4, chosen
END
done

# Adapters: they alone are trained and have moments, and a run that goes on comes to the same bits.
lora='--set finetune.lora.rank=4 --set finetune.lora.targets=["q_proj","v_proj","experts","router"] --set finetune.epochs=4'
lora="$lora --set train.checkpoint_every=6 --set train.keep_last=99"
expect "adapters" 0 '"setting":"fine-tuned"' "$program" finetune ft.toml --model pre --run lora --json $lora
grep -q "adapters: rank 4, alpha 16, of q_proj, v_proj, experts, router in 7 tensors: layers.0.attn.q_proj.weight" lora/train.log ||
  fail "no list of adapters: $(cat lora/train.log)"
expect "eval of a checkpoint" 0 "sky" "$program" eval tasks --model lora/checkpoints/step-00000032 --task-dir files --data-dir tasks \
  --tasks sky --convention paper
cp -r lora/checkpoints/step-00000032 last
for step in 16 18 24 30 32; do rm -r "lora/checkpoints/step-000000$step"; done
expect "adapters go on" 0 "acc" "$program" finetune ft.toml --model pre --run lora $lora --resume
for file in model.safetensors adapter.safetensors optimizer.safetensors; do
  cmp last/$file lora/checkpoints/step-00000032/$file || fail "adapters: a resumed run has another $file"
done
# The adapter alone does to the model what training did.
nll() { "$program" eval ppl --data text.txt --precision fp32 --json "$@" 2>log | grep -o '"nll":[0-9.]*,"ppl"' | cut -c7-12; }
[ -n "$(nll --model lora/model)" ] || fail "no nll of a model of adapters"
[ "$(nll --model lora/model)" = "$(nll --model pre --adapter lora)" ] || fail "an adapter gives another loss than its merged model"
[ "$(nll --model pre)" != "$(nll --model lora/model)" ] || fail "an adapter changes nothing"
expect "an adapter in tasks" 0 '"adapter":"lora/adapter"' "$program" eval tasks --model pre --adapter lora/adapter --task-dir files \
  --data-dir tasks --tasks sky --convention paper --json
expect "an adapter in generate" 0 "merged into the model's weights as they are read" "$program" generate --model pre \
  --adapter lora --prompt "the sun" --max-tokens 2
# It knows its base by the weights, whichever files have them.
grep -q "(trained on pre)" out || fail "an adapter's base: $(cat out)"
"$program" convert pre theirs --to hf --family xglm_moe >log 2>&1 || fail "convert: $(cat log)"
for model in pre theirs whole; do
  "$program" eval ppl --data text.txt --model $model --adapter lora >out 2>&1 || fail "an adapter over $model: $(cat out)"
  others=$(grep -c "adapters trained on pre, whose weights .* does not have: on others they mean little" out)
  [ "$others" -eq $([ $model = whole ] && echo 1 || echo 0) ] || fail "an adapter over $model: $(cat out)"
done
tensors() { python3 "$tests/tensors.py" "$@"; }
# Merged as it is read, an adapter gives the weights of training, to the bit.
tensors write ids.safetensors src=4,5,6,7:8,9,10,11 tgt=5,6,7,8:9,10,11,12
expect "an adapter in score" 0 '"adapter":"lora"' "$program" score --model pre --adapter lora --tokens ids.safetensors --out a.safetensors
expect "score of the merged model" 0 "" "$program" score --model lora/model --tokens ids.safetensors --out b.safetensors
expect "score without it" 0 "" "$program" score --model pre --tokens ids.safetensors --out c.safetensors
tensors read a.safetensors >a; tensors read b.safetensors >b; tensors read c.safetensors >c
python3 - <<'END' || fail "score --adapter gives other log-probabilities than the merged model"
a, b, c = ([float(x) for line in open(f) for x in line.split()[1:]] for f in 'abc')
assert a and a == b, (a, b)
assert max(abs(x - y) for x, y in zip(a, c)) > 1e-3, (a, c)
END
expect "an adapter in convert" 0 "troupe to troupe" "$program" convert pre merged --adapter lora
for model in lora/model merged; do tensors read $model/model.safetensors | sort >$(basename $model).values; done
[ -s model.values ] && cmp model.values merged.values || fail "convert --adapter gives another model"
expect "an adapter twice" 0 "adapters of its own training are in its weights already" "$program" generate --model lora/model \
  --adapter lora --prompt "the sun" --max-tokens 2
expect "no adapter" 3 "tok: expected an adapter (adapter_config.json and adapter_model.safetensors), got neither" "$program" \
  generate --model pre --adapter tok --prompt a
expect "an adapter and two models" 2 "--adapter: expected one --model beside it, got 2" "$program" eval ppl --model a=pre \
  --model b=pre --adapter lora --data text.txt
expect "resume of another rank" 2 'finetune.lora.rank: 4 in the checkpoint' "$program" finetune ft.toml --model pre --run lora \
  --resume $lora --set finetune.lora.rank=2
expect "adapters and frozen parts" 2 "finetune.freeze: expected nothing beside finetune.lora" "$program" finetune ft.toml \
  --model pre --run no $lora --set finetune.freeze=router
expect "adapters and Muon" 2 "train.optimizer.matrices: expected adam beside finetune.lora" "$program" finetune ft.toml \
  --model pre --run no $lora --set train.optimizer.matrices=muon
expect "a dropout of experts' adapters" 2 "finetune.lora.dropout: expected 0 beside the target experts" "$program" finetune ft.toml \
  --model pre --run no $lora --set finetune.lora.dropout=0.1
for setting in lora.dropout=0.1 lora.alpha=2 lora.targets=v_proj top_p=0.5; do
  expect "a setting without use" 2 "finetune.${setting%%=*}: expected " "$program" finetune ft.toml --model pre --run no \
    --set finetune.$setting
done
# With a dropout of their inputs a run goes on to the same bits, too, and the sum of matrices is the model.
dropped='--set finetune.lora.rank=4 --set finetune.lora.targets=["q_proj","o_proj","up_proj","down_proj"] --set finetune.lora.dropout=0.3'
dropped="$dropped --set finetune.epochs=2 --set train.checkpoint_every=3 --set train.keep_last=99"
expect "a dropout of adapters" 0 "acc" "$program" finetune ft.toml --model pre --run dropped $dropped
grep -q '"lora_dropout": *0.3' dropped/adapter/adapter_config.json || fail "$(cat dropped/adapter/adapter_config.json)"
expect "a dropped adapter in convert" 0 "troupe to troupe" "$program" convert pre merged_dropped --adapter dropped
for model in dropped/model merged_dropped; do tensors read $model/model.safetensors | sort >$(basename $model).values; done
[ -s model.values ] && cmp model.values merged_dropped.values || fail "a dropped adapter is not that of its model"
cp -r dropped/checkpoints/step-00000016 last_dropped
for step in 09 12 15 16; do rm -r "dropped/checkpoints/step-000000$step"; done
expect "a dropout goes on" 0 "acc" "$program" finetune ft.toml --model pre --run dropped $dropped --resume
for file in model.safetensors adapter.safetensors optimizer.safetensors; do
  cmp last_dropped/$file dropped/checkpoints/step-00000016/$file || fail "a dropout: a resumed run has another $file"
done
expect "resume of another dropout" 2 'finetune.lora.dropout: 0.3 in the checkpoint' "$program" finetune ft.toml --model pre \
  --run dropped --resume $dropped --set finetune.lora.dropout=0.2
python3 - <<'END' || fail "adapters"
import json, pathlib, struct
def tensors(path):
    data = path.read_bytes()
    n = struct.unpack('<Q', data[:8])[0]
    return {k: data[8 + n + v['data_offsets'][0]:8 + n + v['data_offsets'][1]]
            for k, v in json.loads(data[8:8 + n]).items() if k != '__metadata__'}
last = pathlib.Path('last')
before, after = tensors(pathlib.Path('pre/model/model.safetensors')), tensors(last / 'model.safetensors')
adapters = tensors(last / 'adapter.safetensors')
assert {k[2:] for k in tensors(last / 'optimizer.safetensors')} == set(adapters)
moved = {k for k in before if before[k] != after[k]}
assert moved == {k for k in before if k.endswith('.weight') and k[:-6] + 'lora_A' in adapters}, moved
assert len(moved) == 2 * 2 + 4 * 2 + 1, moved
END

# A dense model learns from a sparse one, and comes nearer to it.
sed '/moe/,/expert_d_ff/d' run.toml >dense.toml
"$program" train dense.toml --run dense >/dev/null 2>&1 || fail "train a dense model"
teacher='--model dense --set finetune.teacher=whole/model --set finetune.teacher_alpha=1 --set finetune.teacher_temperature=2'
expect "a teacher" 0 '"divergence":' "$program" finetune ft.toml --run taught --json $teacher
grep -q "teacher: whole/model, [0-9]* parameters: 1 of the loss, temperature 2" taught/train.log || fail "no teacher: $(cat taught/train.log)"
sed -n 's/.*"divergence":\([0-9.e-]*\),.*/\1/p' out | awk 'NR == 1 { first = $1 } { last = $1 } END { exit !(NR == 80 && last < first / 4) }' ||
  fail "a teacher from whom nothing is learnt: $(grep divergence out | sed -n '1p;$p')"
expect "weights of nobody" 2 "finetune.teacher_alpha: expected finetune.teacher beside it" "$program" finetune ft.toml \
  --model dense --run no --set finetune.teacher_alpha=0.1
"$program" train run.toml --run narrow --set model.context=24 >/dev/null 2>&1 || fail "train a model of less context"
expect "a teacher of less context" 2 "finetune.teacher: expected a context of at least 48, as dense has, got 24" "$program" finetune \
  ft.toml --model dense --run no --set finetune.teacher=narrow
expect "a teacher of other words" 2 "finetune.teacher: expected a vocabulary of 300 as dense has, got 290" sh -c '
  "$1" tokenizer train --vocab-size 290 --out tok2 text.txt && "$1" encode --tokenizer tok2 --out data2 text.txt &&
  "$1" train run.toml --run other --set model.vocab_size=290 --set data.train=data2 &&
  "$1" finetune ft.toml --model dense --run no --set finetune.teacher=other' sh "$program"

# No training file: fixed parts of what is evaluated. Several rates and seeds: one training each.
mv tasks/sky/train.jsonl kept.jsonl
expect "a split of its own" 0 '"split":"val:test","chosen_by":"val:select"' "$program" finetune ft.toml --model pre \
  --run own --json --set finetune.epochs=1 --set finetune.lr=0.01,0.03 --set finetune.seeds=1,2
grep '"troupe.finetune_result/1"' out | grep -q '"epochs":\[1,1\],"seeds":\[1,2\],"model":"own/model"' || fail "seeds: $(cat out)"
[ -e own/lr-0.03-seed-2/model/model.safetensors ] || fail "no folder of a training: $(ls own)"
expect "all of it again" 0 '"n":1,' "$program" finetune ft.toml --model pre --run own --json --resume --set finetune.epochs=1 \
  --set finetune.lr=0.01,0.03 --set finetune.seeds=1,2
[ "$(grep -c '"setting":"zero-shot"' out)" -eq 0 ] || fail "trainings that were over began again"
# What the model knew before is measured once for all trainings, and the result has a value for every seed.
grep '"troupe.finetune_result/1"' out | grep -q '"values":\[[0-9.]*,[0-9.]*\]' || fail "no value by seed: $(cat out)"
rm -r own/lr-0.03-seed-2
sed -i '/"zero-shot"/s/"accuracy":[0-9.e-]*/"accuracy":0.125/' own/lr-0.01-seed-1/metrics.jsonl
expect "one training again" 0 '"setting":"zero-shot"' "$program" finetune ft.toml --model pre --run own --json --resume \
  --set finetune.epochs=1 --set finetune.lr=0.01,0.03 --set finetune.seeds=1,2
grep '"zero-shot"' own/lr-0.03-seed-2/metrics.jsonl | grep '"accuracy":0.125' | grep -q '"lr":0.03,"seed":2' ||
  fail "zero-shot scores were measured again: $(head -2 own/lr-0.03-seed-2/metrics.jsonl)"
# One rate without a figure is not the best; without any there is none.
sed -i '/"fine-tuned"/d' own/lr-0.01-seed-*/metrics.jsonl
expect "a rate without figures" 0 '"lr":0.03' "$program" finetune ft.toml --model pre --run own --json --resume \
  --set finetune.epochs=1 --set finetune.lr=0.01,0.03 --set finetune.seeds=1,2
sed -i '/"fine-tuned"/d' own/lr-0.03-seed-*/metrics.jsonl
expect "no figures" 3 "own/lr-0.01-seed-1/metrics.jsonl: expected finite figures of an epoch, got none" "$program" finetune \
  ft.toml --model pre --run own --resume --set finetune.epochs=1 --set finetune.lr=0.01,0.03 --set finetune.seeds=1,2
# A rate that diverges is worse than every other, however many seeds are left; what did is not trained again.
sweep() { expect "$1" "$2" "$3" "$program" finetune ft.toml --model pre --run wild --set finetune.epochs=1 "${@:4}"; }
sweep "a rate that diverges" 0 "0.01 (1000 diverged)" --set finetune.lr=1000,0.01 --set finetune.seeds=1,2
grep -qF "warning: wild/lr-1000-seed-1: diverged, and counts as worse than every other rate: step " out || fail "no word of it: $(cat out)"
[ -e wild/lr-0.01-seed-2/model ] && [ ! -e wild/lr-1000-seed-2 ] || fail "seeds of a rate that diverged: $(ls wild)"
cp wild/lr-1000-seed-1/history.jsonl diverged.jsonl
rm -r wild/lr-0.01-seed-2
sweep "a rate that diverged before" 0 '"seeds":[1,2],"model":"wild/model","diverged":[1000.0]' --resume --json \
  --set finetune.lr=1000,0.01 --set finetune.seeds=1,2
cmp diverged.jsonl wild/lr-1000-seed-1/history.jsonl || fail "what diverged began again"
sweep "another setting over what is complete" 2 \
  "wild/lr-0.01-seed-1: expected the settings of this training, which is complete, got train.clip_norm: 0.0 in the training, 1000000000.0 in the configuration (name another folder" \
  --resume --set finetune.lr=1000,0.01 --set finetune.seeds=1,2 --set train.clip_norm=1e9
rm -r wild/lr-0.01-seed-*
sweep "another setting" 0 '"diverged":[1000.0]' --resume --json --set finetune.lr=1000,0.01 --set finetune.seeds=1,2 --set train.clip_norm=1e9
cmp -s diverged.jsonl wild/lr-1000-seed-1/history.jsonl && fail "what diverged did not begin again with another setting"
rm -r wild
sweep "every rate diverges" 5 "wild: expected a rate that does not diverge, got 1000, 2000 in finetune.lr" --set finetune.lr=1000,2000
sweep "every rate diverged" 5 "wild: expected a rate that does not diverge" --set finetune.lr=1000,2000 --resume
# Of adapters the best one is the run's.
expect "a sweep of adapters" 0 '"model":"swept/model"' "$program" finetune ft.toml --model pre --run swept --json \
  --set finetune.epochs=1 --set finetune.lr=0.01,0.03 --set finetune.lora.rank=2
[ "$(nll --model swept/model)" = "$(nll --model pre --adapter swept)" ] || fail "a sweep's adapter is not that of its model"
mv kept.jsonl tasks/sky/train.jsonl

expect "what it would take" 0 '"learnt":["sky"],"trainings":4,"epochs":10,"texts":32' "$program" finetune ft.toml --model pre \
  --run dry --json --dry-run --set finetune.lr=0.01,0.03 --set finetune.seeds=1,2
[ -e dry ] && fail "--dry-run left a folder"
sed 's/^name = .*/name = "sea"/' files/sky.toml >files/sea.toml
expect "several tasks over one" 2 "whole: expected a folder for 2 trainings, got that of one" "$program" finetune ft.toml --model pre \
  --run whole --set 'finetune.tasks=["files/sky.toml","files/sea.toml"]'
expect "one training over several" 2 "swept: expected a folder for one training, got that of several, as lr-0.0" "$program" finetune \
  ft.toml --model pre --run swept --resume
expect "a sweep over what is there" 2 "own/lr-0.01-seed-1: expected a new run" "$program" finetune ft.toml --model pre --run own \
  --set finetune.lr=0.1,0.01

# Memory is that of the rows that the texts need, which may be longer than those of tasks.
cp -r pre/model wide
sed -i 's/"context": 48/"context": 40000/' wide/config.json
python3 -c 'print("{\"text\": \"" + "the cat sat on the mat " * 10000 + "\"}\n" + "{\"text\": \"a mat\"}")' >long.jsonl
expect "a plan of long texts" 0 '"row_tokens":40000' "$program" finetune --model wide --run long --set finetune.text=long.jsonl --dry-run --json
expect "no memory for long texts" 4 " of memory for training" "$program" finetune --model wide --run long \
  --set finetune.text=long.jsonl --set finetune.batch_sequences=20000
[ -e long ] && fail "what has no memory left a folder"
expect "a plan of short texts" 0 '"row_tokens":256' "$program" finetune ft.toml --model wide --run short --dry-run --json

# Text, and prompts with answers.
for i in $(seq 12); do echo "{\"prompt\": \"number $i? \", \"completion\": \"it is $i\"}"; done >ask.jsonl
expect "text and answers" 0 "held out" "$program" finetune --model pre --run texts --set finetune.text=text.txt \
  --set finetune.answers=ask.jsonl --set 'finetune.weights=["text.txt=1", "ask.jsonl=3"]' --set finetune.lr=0.01 \
  --set finetune.epochs=1
weights() { expect "weights $1" 2 "finetune: finetune.weights: $2" "$program" finetune --model pre --run no --set finetune.text=text.txt --set "finetune.weights=$1" --dry-run; }
expect "weights without brackets" 2 "write --set 'finetune.weights=[\"text.txt=1\", \"ask.jsonl=3\"]'" "$program" finetune \
  --model pre --run no --set finetune.weights=text.txt=1,ask.jsonl=3
weights text.txt=-1 "text.txt: expected a number above 0, got -1"
weights another=1 "expected a share of everything that is learnt or of nothing, got none of text.txt"
weights '["text.txt=1","another=1"]' "expected names of tasks, text and answers, got another"
expect "rates that are nearly equal" 0 "" "$program" finetune --model pre --run near --set finetune.text=text.txt --set finetune.epochs=1 \
  --set finetune.lr=0.01,0.01000001
[ -e near/lr-0.01-seed-1/model ] && [ -e near/lr-0.01000001-seed-1/model ] || fail "rates that are nearly equal: $(ls near)"
echo '{"messages": [{"role": "user", "content": "a"}]}' >chat.jsonl
expect "messages" 3 "chat.jsonl:1: messages: expected a model with a chat template" "$program" finetune --model pre \
  --run no --set finetune.answers=chat.jsonl
echo '{"prompt": "a"}' >half.jsonl
expect "no completion" 3 "half.jsonl:1: completion: expected a text, got none" "$program" finetune --model pre --run no \
  --set finetune.answers=half.jsonl

expect "no model" 2 "finetune.model: expected the folder of a model" "$program" finetune --task sst2 --run no
expect "no data" 2 "finetune.data_dir: expected" "$program" finetune --model pre --task sst2 --run no
expect "no task" 2 "finetune.tasks: expected tasks" "$program" finetune --model pre --run no
expect "an unknown task" 2 "did you mean sst2?" "$program" finetune --model pre --task sst --data-dir tasks --run no
cp files/sky.toml same.toml
expect "two tasks of one name" 2 "finetune.tasks: expected each name once, got sky twice" "$program" finetune --model pre --run no \
  --task files/sky.toml,same.toml --data-dir tasks
expect "a task without data" 3 "expected dev.tsv" "$program" finetune --model pre --task sst2 --data-dir tasks --run no
expect "another model" 2 "model.d_model: expected 16, as pre says, got 32" "$program" finetune ft.toml --model pre --run no \
  --set model.d_model=32
expect "steps" 2 "train.steps: expected none or 80" "$program" finetune ft.toml --model pre --run no --set train.steps=7
expect "pretraining's data" 2 "data.train: expected none" "$program" finetune ft.toml --model pre --run no --set data.train=data
expect "sweep and rates" 2 "finetune.sweep: expected false beside finetune.lr" "$program" finetune ft.toml --model pre --run no \
  --set finetune.sweep=true
expect "rates that are none" 2 "finetune.lr: expected a number or a list of numbers" "$program" finetune ft.toml --model pre \
  --run no --set finetune.lr=fast
expect "fine-tuning in train" 2 "expected a known key" "$program" train ft.toml --run no
[ -e no ] && fail "a refused run left a folder"
finish
