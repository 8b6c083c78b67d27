#!/usr/bin/env bash
# troupe eval, started by mpirun: what one process says, byte for byte, written by the first rank alone.
#   ranks_eval_test.sh PROGRAM TEST_DATA MPIRUN
. "$(dirname "$0")/expect.sh"
needs_ranks "$3"

for i in $(seq 40); do printf '{"text": "%s cats sat on mat %s and %s dogs ran"}\n' "$i" $((i * 7)) $((i * i)); done >text.jsonl
sed 's/cats/birds/' text.jsonl >other.jsonl
"$program" tokenizer train --vocab-size 300 --out tok text.jsonl >/dev/null 2>&1
"$program" encode --tokenizer tok --out shards text.jsonl >/dev/null 2>&1
cat >run.toml <<'TOML'
[model]
num_layers = 2
d_model = 16
num_heads = 2
d_ff = 32
vocab_size = 300
context = 32
[model.moe]
num_experts = 5
every = 2
expert_d_ff = 16
[train]
steps = 2
batch_sequences = 2
[data]
train = ["shards"]
TOML
"$program" train run.toml --run run >/dev/null 2>&1
mkdir pets
for i in $(seq 30); do echo "{\"q\": \"pet $i sat on\", \"a\": [\" mat $i\", \" dog\"], \"y\": $((i % 2))}"; done >pets/v.jsonl
mkdir own && pets_task >own/pets.toml
ppl() { echo eval ppl --model run --data a=text.jsonl --data b=other.jsonl --batch 2 --json "$@"; }
pets() { echo eval tasks --model run --task-dir own --data-dir . --tasks pets --batch-tokens 40 --json "$@"; }

n=0
for command in "$(ppl)" "$(ppl --mode documents --capacity train)" "$(ppl --fairseq)" "$(pets)" "$(pets --capacity train)"; do
  n=$((n + 1))
  "$program" $command >alone.$n 2>log || fail "$command: $(cat log)"
  [ -s alone.$n ] || fail "$command: nothing"
  for ranks in 2 3; do
    on $ranks $command >ranks.$n 2>log || fail "$ranks ranks: $command: $(cat log)"
    cmp alone.$n ranks.$n || fail "$ranks ranks: $command"
  done
done
grep -qF "ranks: 3 (" log && grep -qF "each has the whole model" log || fail "the log: $(cat log)"

"$program" $(pets) --journal journal.1 --details details.1 >alone 2>log
on 2 $(pets) --journal journal.2 --details details.2 >ranks 2>log || fail "journal and details: $(cat log)"
cmp journal.1 journal.2 && cmp details.1 details.2 && cmp alone ranks || fail "journal and details"
on 3 $(pets) --journal journal.1 >ranks 2>log || fail "from the journal: $(cat log)"
cmp alone ranks && cmp journal.1 journal.2 && grep -q "(60 from the journal)" log || fail "from the journal: $(cat log)"

one_error() { [ "$(grep -c '^error' out)" = 1 ] || fail "expected one error, got $(cat out)"; }
expect "no data" 3 "error: nowhere.txt: " on 2 eval ppl --model run --data nowhere.txt
one_error
expect "no model" 3 "error: nowhere: " on 2 eval tasks --model nowhere --task-dir own --data-dir . --tasks pets
one_error
expect "standard input" 2 "expected files for several ranks, got standard input" on 2 eval ppl --model run --data x=-
one_error
expect "details that cannot be written" 4 "no/such/file: " on 2 $(pets) --details no/such/file
one_error
echo '{"q": "x", "a": ["y"], "y": 7}' >>pets/v.jsonl
expect "bad data" 3 "pets/v.jsonl:31: " on 2 $(pets)
one_error
expect "other kernels on one rank" 4 "expected the program of rank 0 on all" \
  "$mpirun" -n 1 -x TROUPE_ISA=generic "$program" $(ppl) : -n 1 -x TROUPE_ISA=avx2 "$program" $(ppl)
one_error
for command in "generate --model run --prompt x" "score --model run --tokens shards --out x" "eval bias --model run --data-dir ."; do
  expect "$command" 2 "expected one process, got 2 started together" on 2 $command
done
finish
