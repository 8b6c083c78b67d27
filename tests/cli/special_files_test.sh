#!/bin/bash
# Inputs that are no files: a FIFO that nobody writes to and a device without an end are refused at once, by name.
# Usage: special_files_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
bpe=$2/gpt2-bpe
seq 1 400 >text.txt
"$program" encode --tokenizer "$bpe" --out data text.txt >/dev/null 2>&1
{ small_model 1 16; cat <<'END'; } >run.toml
[train]
steps = 1
batch_sequences = 2
precision = "fp32"
[data]
train = ["data"]
END
expect "train" 0 "" "$program" train run.toml --run run
mkdir fifo zero tok
for name in a.txt a.jsonl a.txt.gz a.toml a.safetensors a.pt a.tok a.json; do
  mkfifo fifo/$name
  ln -s /dev/zero zero/$name
done
for kind in fifo zero; do
  what=$([ $kind = fifo ] && echo FIFO || echo device)
  mkdir -p $kind/model $kind/tok $kind/shards $kind/run $kind/tasks
  cp run/model/config.json $kind/model
  ln -s ../a.safetensors $kind/model/model.safetensors
  ln -s ../a.json $kind/tok/tokenizer.json
  ln -s ../a.json $kind/shards/index.json
  ln -s ../a.toml $kind/run/config.toml
  ln -s ../a.toml $kind/tasks/a.toml
  # refuses CODE COMMAND...
  refuses() {
    local code=$1
    shift
    expect "$kind: $*" "$code" "got a $what" timeout -k 1 20 "$program" "$@" </dev/null
    [ "$(grep -c '^error:' out)" = 1 ] || fail "$kind: $*: expected one error, got: $(cat out)"
  }
  refuses 2 config show $kind/a.toml
  refuses 2 train $kind/a.toml
  refuses 2 study $kind/a.toml
  refuses 2 cost --config $kind/a.toml
  refuses 3 config reference --check $kind/a.txt
  refuses 3 man --check $kind/a.txt
  refuses 3 encode --tokenizer "$bpe" --out no $kind/a.txt
  refuses 3 encode --tokenizer "$bpe" --out no $kind/a.jsonl
  refuses 3 encode --tokenizer "$bpe" --out no $kind/a.txt.gz
  refuses 3 encode --tokenizer $kind/tok --out no text.txt
  refuses 3 encode --tokenizer $kind/a.json --out no text.txt
  refuses 3 tokenizer train --out no $kind/a.txt
  refuses 3 tokenizer encode --tokenizer $kind/a.json
  refuses 3 corpus stats $kind/a.txt
  refuses 3 corpus build --out no --domain x=$kind/a.txt
  refuses 3 eval ppl --model run --data $kind/a.txt
  refuses 3 eval ppl --model $kind/model --data text.txt --tokenizer "$bpe"
  refuses 3 generate --model $kind/model --tokenizer "$bpe" --prompt x
  refuses 3 generate --model run --prompts $kind/a.txt
  refuses 3 generate --model run --prompts $kind/a.jsonl
  refuses 3 score --model run --tokens $kind/a.safetensors --out no
  refuses 3 report $kind/run
  refuses 3 eval report $kind/a.jsonl
  refuses 3 inspect $kind/model
done
[ ! -e no ] || fail "something was left"
finish
