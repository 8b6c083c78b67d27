#!/bin/bash
# troupe bench as users run it: lines, at sizes of a second, and what is refused. How fast is not tested.
# Left out: grouped, moe and eval, whose sizes are fixed and take seconds to minutes.
# Usage: bench_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

# lines MOST "NAME..." COMMAND...: see read_bench.py.
lines() {
  local most=$1 names=$2
  shift 2
  expect "bench $1" 0 "" "$program" bench "$@" --seconds 0 --json
  python3 "$tests/read_bench.py" "$most" $names <out || { fail "bench $*"; cat out; }
}

printf 'A cat sat on the mat. %.0s' $(seq 2000) >text.txt
products="gemm-forward gemm-backward-input gemm-backward-weight"
# A machine that other programs use may be slow in one burst and fast in the work between.
lines 3 "$products" gemm --rows 64 --width 64
lines 3 "$products" gemm --rows 3 --width 17 --precision fp32
lines 3 "attention-forward attention-backward attention" attention --length 32 --tokens 64 --dropout 0.1
lines 3 "loss-score loss" loss --tokens 32 --vocab 300 --width 32
lines 3 "dense-6x256" step dense-6x256 --context 16 --sequences 4 --micro 2
grep -q '"shape":"4 x 16 tokens, 2 at a time' out || { fail "bench step: its sizes"; cat out; }
lines 1000 "adam adam-bf16 gradient-norm" adam --parameters 1000  # in the caches, beside memory
lines 0 "tokenizer-encode tokenizer-decode tokenizer-train" tokenizer --train-vocab-size 300 text.txt
expect "bench as text" 0 "of triad" "$program" bench adam --parameters 1000 --seconds 0
grep -q '^2 threads, ' out || fail "bench as text: the threads"

# What cannot be is refused before anything is measured.
expect "bench: which" 2 "A subcommand is required" "$program" bench
expect "bench: a mistyped one" 2 "(did you mean gemm?)" "$program" bench gem
expect "bench step: a model" 2 "dense-6x256" "$program" bench step dense-6x257
expect "bench step: half a micro-batch" 2 "dense-6x256: --sequences: expected a multiple of --micro (3), got 4" \
  "$program" bench step dense-6x256 --sequences 4 --micro 3
expect "bench step: no positions" 2 "--context: expected " "$program" bench step dense-6x256 --context 0
expect "bench moe: a model" 2 "--dense" "$program" bench moe --dense moe16-6x256
expect "bench moe: one expert" 2 "--experts: expected a whole number from 2 to 4096, got 1" "$program" bench moe --experts 1
expect "bench grouped: a part" 2 "--part" "$program" bench grouped --part some
expect "bench gemm: no rows" 2 "--rows: expected " "$program" bench gemm --rows 0
expect "bench gemm: a precision" 2 "--precision: expected one of " "$program" bench gemm --precision fp8
expect "bench attention: dropout of all" 2 "--dropout: expected " "$program" bench attention --dropout 1
expect "bench eval: a flag of another" 2 "--rows" "$program" bench eval --rows 3
expect "bench tokenizer: no text" 3 "nowhere" "$program" bench tokenizer nowhere

# What measures on a GPU, tried here: a row is in its file at once, and a ratio to another pack's program.
mkdir other && ln -s "$program" troupe && ln -s "$program" other/troupe && echo abc >commit
expect "check.py" 0 "dense-6x256 over before: " python3 -B "$tests/../../tools/gpu/check.py" speed rows.json --dry-run --alone \
  --before other --models dense-6x256
[ "$(grep -c '"program": "before"' rows.json)" = 2 ] || { fail "check.py: rows"; cat rows.json; }
expect "check.py: a model" 2 "--models: expected some of dense-12x768, " python3 -B "$tests/../../tools/gpu/check.py" speed --models x

finish
