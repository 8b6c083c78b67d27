#!/bin/bash
# Standard streams that fail: a full disk, a reader that went away, descriptors that the caller closed.
# Usage: output_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

# expect_lost WHAT COMMAND...: with nowhere to write to, one line of error and exit code 4; likewise with stdout closed.
expect_lost() {
  local what=$1
  shift
  expect "$what, stdout full" 4 "error: standard output: expected to write results, got: No space left" \
    bash -c '"$@" >/dev/full' lost "$@"
  [ "$(grep -c '^error:' out)" = 1 ] || fail "$what: expected one error, got: $(cat out)"
  expect "$what, stdout closed" 4 "error: standard output: expected to write results, got: Bad file descriptor" \
    bash -c '"$@" >&-' lost "$@"
}

seq 1 2000 >text.txt
{ small_model 1 16; cat <<'END'; } >run.toml
[train]
steps = 200
batch_sequences = 2
precision = "fp32"
log_every = 1
[data]
train = ["data"]
END
bpe=$2/gpt2-bpe
expect "encode" 0 "" "$program" encode --tokenizer "$bpe" --out data text.txt
expect "train" 0 "" "$program" train run.toml --run done --set train.steps=2
expect "convert" 0 "" "$program" inspect done/model

expect_lost "help" "$program" --help
expect_lost "help of a command" "$program" eval ppl --help
expect_lost "version" "$program" --version
expect_lost "decode" bash -c 'echo "[15496]" | "$0" tokenizer decode --tokenizer "$1"' "$program" "$bpe"
expect_lost "decode --raw" bash -c 'echo "[15496]" | "$0" tokenizer decode --raw --tokenizer "$1"' "$program" "$bpe"
expect_lost "tokenizer encode" bash -c 'echo text | "$0" tokenizer encode --tokenizer "$1"' "$program" "$bpe"
expect_lost "generate" "$program" generate --model done/model --prompt x --max-tokens 3
expect_lost "generate --json" "$program" generate --model done/model --prompt x --max-tokens 3 --json
expect_lost "cost" "$program" cost --preset dense-125m
expect_lost "cost --table" "$program" cost --table
expect_lost "config show" "$program" config show run.toml
expect_lost "config reference" "$program" config reference
expect_lost "inspect" "$program" inspect done/model
expect_lost "doctor" "$program" doctor
expect_lost "corpus list" "$program" corpus list
expect_lost "corpus stats" "$program" corpus stats text.txt
expect_lost "eval tasks --list" "$program" eval tasks --list
expect_lost "eval ppl" "$program" eval ppl --model done/model --data text.txt
expect_lost "report" "$program" report done
rm -r data
expect_lost "encode" bash -c 'rm -rf data && exec "$0" encode --tokenizer "$1" --out data text.txt' "$program" "$bpe"
rm -rf data
expect "encode again" 0 "" "$program" encode --tokenizer "$bpe" --out data text.txt
expect "bench" 4 "standard output" bash -c '"$0" bench adam --seconds 0.01 >/dev/full' "$program"

# A training loses nothing: it writes a checkpoint and ends with the error.
expect "train --json onto a full disk" 4 "No space left on device; stopped after step 1: full/checkpoints/step-00000001 is written" \
  bash -c '"$0" train run.toml --run full --json >/dev/full' "$program"
expect "its resumption" 0 "full/model" "$program" train run.toml --run full --resume --set train.steps=3
expect "train --json, stdout closed" 4 "Bad file descriptor; stopped after step 1" \
  bash -c '"$0" train run.toml --run closed --json >&-' "$program"
expect "train --json, reader gone" 0 "Broken pipe; stopped after step" \
  bash -c '"$0" train run.toml --run gone --json | head -1' "$program"
expect "its resumption" 0 "gone/model" "$program" train run.toml --run gone --resume --set train.steps=60

# Elsewhere a reader that goes away ends the program without a word.
bash -c 'set -o pipefail; "$0" config reference 2>err | true; echo $?' "$program" >status
case $(cat status) in 0 | 141) ;; *) fail "reader gone: got status $(cat status)" ;; esac
[ ! -s err ] || fail "reader gone: expected no words, got: $(cat err)"

# Closed descriptors do not become files of ours.
for closed in '0<&-' '2>&-' '0<&- 2>&-'; do
  expect "train with $closed" 0 "" \
    bash -c "\"\$0\" train run.toml --run 'run $closed' --set train.steps=2 $closed" "$program"
  lines=$(grep -vc '^{"schema":"troupe\.' "run $closed/metrics.jsonl")
  [ "$lines" = 0 ] || fail "metrics.jsonl of a run with $closed: $(cat "run $closed/metrics.jsonl")"
done
expect "standard input closed" 4 "standard input: expected to read it, got: Bad file descriptor" \
  bash -c '"$0" tokenizer encode --tokenizer "$1" <&-' "$program" "$bpe"
expect "standard input a folder" 4 "standard input: expected to read it, got: Is a directory" \
  bash -c '"$0" tokenizer decode --jsonl --tokenizer "$1" </' "$program" "$bpe"
expect "prompt from standard input closed" 4 "standard input: expected to read it" \
  bash -c '"$0" generate --model done/model --prompt - <&-' "$program"
expect "a file at its limit" 4 "File too large" \
  bash -c 'ulimit -f 1; "$0" tokenizer train --vocab-size 300 --out limited text.txt' "$program"
[ ! -e limited ] || fail "a file at its limit left an empty folder"
python3 "$tests/tensors.py" write ids.safetensors src=4,5,6,7 tgt=5,6,7,8
for i in $(seq 1 60); do echo "Item $i has $((i * 7919)) parts and $((i * i)) holes, $((i * 31 + 5)) of them round."; echo; done >items.txt
# Where a result cannot be written is known before the work.
expect "a file in place of the folder" 4 "text.txt/tok: expected to create this folder, got: Not a directory" \
  "$program" tokenizer train --vocab-size 300 --out text.txt/tok text.txt
grep -q "documents" out && fail "text was read before: $(cat out)"
# Of what cannot be written nothing is left, the folders on the way to it neither.
for command in "encode --tokenizer $bpe --out deep/a/data text.txt" "convert done/model deep/a/model" "report done --out deep/a/x.html" \
  "completion bash --out deep/a/x" "score --model done/model --tokens ids.safetensors --out deep/a/x.safetensors" \
  "man --out deep/a" "metrics done --format csv --out deep/a/x.csv" "corpus build --domain a=items.txt --valid-share 0.2 --out deep/a"; do
  # shellcheck disable=SC2086
  expect "limited: $command" 4 "File too large" bash -c 'set -o pipefail; (ulimit -f 0; "$0" $1) 2>&1 | cat' "$program" "$command"
  [ ! -e deep ] || fail "left by $command: $(find deep)"
  rm -rf deep
done
finish
