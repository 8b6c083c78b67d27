#!/bin/bash
# Where a model runs: --device, TROUPE_DEVICE, and by themselves commands take a GPU if one works; they say so, or why not.
# Usage: device_test.sh PROGRAM FOLDER_OF_STUB_DRIVER [MPIRUN]
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
stub=$(realpath "$2") mpirun=${3-}
unset TROUPE_DEVICE TROUPE_CUDA_LIBRARIES

# with FAILURE COMMAND...: with the stub of a driver, where FAILURE fails ("": nothing).
with() { local failure=$1; shift; STUB_DRIVER=$failure LD_LIBRARY_PATH=$stub${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"; }
# says WHAT TEXT COMMAND...: the whole of stderr of a command that works.
says() {
  local what=$1 text=$2
  shift 2
  "$@" >out 2>err || fail "$what: exit code $?: $(cat err)"
  [ "$(cat err)" = "$text" ] || fail "$what: expected \"$text\", got \"$(cat err)\""
}
cost=("$program" cost --preset dense-125m)

says "a driver that finds no card" "" with cuInit=100 "${cost[@]}"
says "a driver that does not start" \
  "device: cpu; no GPU is used: the driver does not start: CUDA_ERROR_STUB (as the test asked)" with cuInit=999 "${cost[@]}"
says "TROUPE_DEVICE=cpu" "" with cuInit=999 env TROUPE_DEVICE=cpu "${cost[@]}"
says "--device cpu" "" with cuInit=999 env TROUPE_DEVICE=cuda "${cost[@]}" --device cpu
says "a command without a model" "" with cuInit=999 "$program" config reference
says "--quiet" "" with cuInit=999 "${cost[@]}" --quiet
expect "TROUPE_DEVICE=gpu" 2 "error: TROUPE_DEVICE: expected cpu, auto, cuda or cuda:N, got gpu" \
  env TROUPE_DEVICE=gpu "${cost[@]}"
expect "a switch's other values" 2 "error: TROUPE_CUDA_DETERMINISTIC: expected 0 or 1, got no" \
  env TROUPE_CUDA_DETERMINISTIC=no "${cost[@]}" --device cpu
expect "TROUPE_DEVICE=cuda" 4 "cuda:0: expected a GPU, got none" \
  with cuInit=100 env TROUPE_DEVICE=cuda "$program" bench gemm --seconds 0

# No card is opened where none is needed: memory on a card that is not there, and the process that only starts others.
says "memory on a card" "" with cuInit=100 "${cost[@]}" --device cuda
grep -q 'workspaces of libraries' out || fail "memory is not the GPU's: $(cat out)"
{ small_model 1 16; printf '%s\n' '[train]' 'steps = 1' 'batch_sequences = 2' '[data]' 'train = ["data"]'; } >start.toml
expect "the process that starts a run again" 4 "got one that died with status 4 after 1 restart" \
  with cuInit=100 "$program" train start.toml --restarts 1 --device cuda

# Ranks: each takes a card, or all take the processor and say so once.
seq 1 2000 >text.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1 || fail "tokenizer"
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1 || fail "encode"
{ small_model 1 16; printf '%s\n' '[train]' 'steps = 1' 'batch_sequences = 2' '[data]' 'train = ["data"]'; } >run.toml
sed -i "s/50257/300/; s/eos_id = .*/eos_id = 0/" run.toml
has_ranks() { [ -x "$mpirun" ] && ! "$program" --version | grep -q '^MPI: not built'; }
# ranks RUN FLAGS...
ranks() { local run=$1; shift; "$mpirun" -n 2 "$program" train run.toml --run "$run" "$@"; }
once() { [ "$(grep -c "^$1" out)" = 1 ] || fail "expected one line of $1: $(cat out)"; }
if has_ranks; then
  export NO_COLOR=1
  expect "ranks without a card" 0 "model: none/model" with cuInit=100 ranks none
  ! grep -q '^device' out || fail "ranks without a card: $(cat out)"
  expect "ranks without a driver that starts" 0 \
    "device: cpu; no GPU is used: rank 0: the driver does not start: CUDA_ERROR_STUB" with cuInit=999 ranks broken
  once device
  expect "ranks that want a card" 4 "cuda:0: expected a GPU, got none" with cuInit=100 ranks no --device cuda
  once error
  expect "ranks on one card" 2 "--device: expected cuda, of which every rank takes a card of its own, got cuda:0 for 2 ranks of " \
    with cuInit=100 ranks no --device cuda:0
  once error
  expect "ranks that want different things" 2 "--device, TROUPE_DEVICE: expected one device on all ranks, got cpu on rank 0 and auto on rank 1" \
    with cuInit=100 "$mpirun" -n 1 -x TROUPE_DEVICE=cpu "$program" train run.toml --run no : \
    -n 1 -x TROUPE_DEVICE=auto "$program" train run.toml --run no
  once error
  [ ! -e no ] || fail "a refused run left $(ls no)"
fi

if with "" "${cost[@]}" 2>&1 | grep -q 'built without nvcc'; then
  says "a program without kernels" "device: cpu; no GPU is used: this program was built without nvcc, so it has no kernels for it" \
    with "" "${cost[@]}"
  finish
fi
says "a card that works" "device: cuda:0, Stub" with "" "${cost[@]}"
grep -q 'rounded bf16 copies' out || fail "memory is not the GPU's: $(cat out)"
says "gradients in any order" \
  $'device: cuda:0, Stub\nTROUPE_CUDA_DETERMINISTIC is 0: attention adds up gradients in any order, so that two runs differ in their last bits' \
  with "" env TROUPE_CUDA_DETERMINISTIC=0 "${cost[@]}"
expect "products by what does not run there" 2 "error: TROUPE_CUDA_GROUPED: expected 0 or 1, got cutlass: " \
  with "" env TROUPE_CUDA_GROUPED=cutlass "${cost[@]}"
says "--device auto" "device: cuda:0, Stub" with "" env TROUPE_DEVICE=cpu "${cost[@]}" --device auto
expect "a card that takes no kernels" 0 "device: cpu; no GPU is used: cuda:0: Stub (compute capability 9.9): expected a card of" \
  with cuModuleLoadData=209 "${cost[@]}"
grep -q 'packed bf16 copies' out || fail "memory is not the processor's: $(cat out)"

# What cannot run there.
expect "a part of the processor" 2 "TROUPE_DEVICE: expected cpu, got cuda: bench muon measures the processor" \
  with "" env TROUPE_DEVICE=cuda "$program" bench muon --seconds 0
{ small_model 1 16; printf '%s\n' 'head_dim = 136' '[train]' 'steps = 1' 'batch_sequences = 2' '[data]' 'train = ["data"]'; } >wide.toml
sed -i "s/50257/300/; s/eos_id = .*/eos_id = 0/" wide.toml
expect "wide heads" 0 "device: cpu; no GPU is used: heads have 136 columns, more than 128" with "" "$program" train wide.toml --run wide
expect "memory of wide heads" 0 "device: cpu; no GPU is used: heads have 136 columns, more than 128" with "" "$program" cost --config wide.toml
expect "memory of a card" 4 "bytes are free (--device cpu)" with "" "$program" train run.toml --run run
if has_ranks; then
  expect "ranks on the card of a machine" 4 "bytes are free (--device cpu)" with "" ranks ranks
  grep -qF "device: cuda, Stub; 2 ranks on 1 GPU, of which several share one and its memory" out || fail "ranks: $(cat out)"
  once device
  # apart RUN FLAGS...: two ranks, of which the second cannot open its card.
  apart() {
    with "" "$mpirun" -n 1 "$program" train run.toml --run "$@" : \
      -n 1 -x STUB_DRIVER=cuModuleLoadData=209 "$program" train run.toml --run "$@"
  }
  expect "a rank that cannot open its card" 0 "model: apart/model" apart apart
  grep -qF "device: cpu; no GPU is used: rank 1: cuda:0: Stub (compute capability 9.9): expected a card of" out || fail "apart: $(cat out)"
  once device
  [ "$(grep -c '^stub: a context is released' out)" = 2 ] || fail "apart: a rank keeps its card: $(cat out)"
  expect "a rank that cannot open the card it was told to" 4 "cuda:0: Stub (compute capability 9.9): expected a card of" apart no --device cuda
  once error
fi
finish
