#!/bin/bash
# Texts, paths and names that are not UTF-8: whatever writes JSON writes it, and what must be read back is refused at the
# start.
# Usage: bytes_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
bad=$'b\xff' shown=$'b\xef\xbf\xbd'

cats 60 >text.txt
small_model 1 32 >run.toml
cat >>run.toml <<'END'
[train]
steps = 2
batch_sequences = 2
precision = "fp32"
[data]
train = ["data"]
valid = ["data"]
END
gpt2=$2/gpt2-bpe
"$program" encode --tokenizer "$gpt2" --out data text.txt >/dev/null 2>&1
cp text.txt "$bad.txt"
expect "corpus stats" 0 '"documents":60' "$program" corpus stats "$bad.txt" --json
expect "encode: shards are named after the folder" 2 'b\xff: expected a folder whose name is UTF-8' \
  "$program" encode --tokenizer "$gpt2" --out "$bad" "$bad.txt"
[ ! -e "$bad" ] || fail "encode: left a folder"
expect "encode" 0 "\"out\":\"$shown-data/x\"" \
  "$program" encode --tokenizer "$gpt2" --out "$bad-data/x" "$bad.txt" --json
expect "inspect shards" 0 "\"path\":\"$shown-data/x\"" "$program" inspect "$bad-data/x" --json
expect "tokenizer train" 0 "$shown-tok" \
  "$program" tokenizer train --vocab-size 300 --out "$bad-tok" "$bad.txt" --json
expect "tokenizer decode" 0 $'"text":"\xef\xbf\xbd","bytes":"ad"}' \
  sh -c "printf '%s' 256 | '$program' tokenizer decode --tokenizer $bad-tok"

# A configuration is written beside the run and read back: not before all else is computed is this refused.
expect "train: data" 2 'data.train: expected a list of strings, got "b\xff" (not UTF-8' \
  "$program" train run.toml --run r --set "data.train=$bad"
expect "train: validation" 2 "data.valid: expected a list of strings" \
  "$program" train run.toml --run r --set "data.valid=[\"x=$bad\"]"
[ ! -e r ] || fail "a run that was refused left a folder"
cp run.toml "$bad.toml"
expect "train" 0 "" "$program" train "$bad.toml" --run "$bad-run" --json
expect "train: resume" 0 "" "$program" train "$bad.toml" --run "$bad-run" --resume --json
expect "report" 0 "</html>" sh -c "'$program' report '$bad-run' --out '$bad.html' && cat '$bad.html'"
expect "report: the name" 0 "<summary>$shown-run</summary>" cat "$bad.html"
expect "inspect" 0 "\"path\":\"$shown-run" "$program" inspect "$bad-run" --json
expect "generate" 0 '"text":' \
  "$program" generate --model "$bad-run" --prompt "$bad" --max-tokens 8 --json
expect "generate as text" 0 "" "$program" generate --model "$bad-run" --prompt "$bad" --max-tokens 8
expect "eval ppl" 0 "\"data\":\"$shown\"" "$program" eval ppl --model "$bad-run" --data "$bad.txt" --json
expect "a NAME that is given" 2 "--data: expected a NAME of visible text (UTF-8), got \"$shown\"" \
  "$program" eval ppl --model "$bad-run" --data "$bad=$bad-data/x" --json
expect "eval ppl of shards" 0 '"data":"x"' "$program" eval ppl --model "$bad-run" --data "$bad-data/x" --json
grep "^{" out >"$bad.jsonl"
expect "eval report" 0 "" "$program" eval report "$bad.jsonl" --out "$bad-eval.html"
expect "convert" 0 '"format_to":"troupe"' "$program" convert "$bad-run" "$bad-model" --json
expect "config show" 0 "" "$program" config show "$bad.toml" --json
expect "config show: origins" 0 'num_layers = 1  # b\xff.toml:2' "$program" config show "$bad.toml"
expect "report: its page" 0 'b\xff.html' "$program" report "$bad-run" --out "$bad.html"
expect "encode: its folder" 0 'b\xff-data/y: 60 documents' "$program" encode --tokenizer "$gpt2" --out "$bad-data/y" "$bad.txt"
expect "an error" 3 'error: b\xff-none' "$program" inspect "$bad-none"
expect "no control characters" 3 'error: a\x1b[31m' "$program" inspect $'a\e[31m'
expect "cost" 0 '"preset":' "$program" cost --config "$bad.toml" --json

finish
