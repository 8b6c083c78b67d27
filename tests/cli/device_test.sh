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
expect "TROUPE_DEVICE=cuda" 4 "cuda:0: expected a GPU, got none" \
  with cuInit=100 env TROUPE_DEVICE=cuda "$program" bench gemm --seconds 0

# No card is opened where none is needed: memory on a card that is not there, and the process that only starts others.
says "memory on a card" "" with cuInit=100 "${cost[@]}" --device cuda
grep -q 'workspaces of libraries' out || fail "memory is not the GPU's: $(cat out)"
{ small_model 1 16; printf '%s\n' '[train]' 'steps = 1' 'batch_sequences = 2' '[data]' 'train = ["data"]'; } >start.toml
expect "the process that starts a run again" 4 "got one that died with status 4 after 1 restart" \
  with cuInit=100 "$program" train start.toml --restarts 1 --device cuda

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
says "--device auto" "device: cuda:0, Stub" with "" env TROUPE_DEVICE=cpu "${cost[@]}" --device auto
expect "a card that takes no kernels" 0 "device: cpu; no GPU is used: cuda:0: Stub (compute capability 9.9): expected a card of" \
  with cuModuleLoadData=209 "${cost[@]}"
grep -q 'packed bf16 copies' out || fail "memory is not the processor's: $(cat out)"

# What cannot run there.
expect "a part of the processor" 2 "TROUPE_DEVICE: expected cpu, got cuda: bench muon measures the processor" \
  with "" env TROUPE_DEVICE=cuda "$program" bench muon --seconds 0
seq 1 2000 >text.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1 || fail "tokenizer"
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1 || fail "encode"
{ small_model 1 16; printf '%s\n' 'head_dim = 136' '[train]' 'steps = 1' 'batch_sequences = 2' '[data]' 'train = ["data"]'; } >wide.toml
sed -i "s/50257/300/; s/eos_id = .*/eos_id = 0/" wide.toml
expect "wide heads" 0 "device: cpu; no GPU is used: heads have 136 columns, more than 128" with "" "$program" train wide.toml --run wide
expect "memory of wide heads" 0 "device: cpu; no GPU is used: heads have 136 columns, more than 128" with "" "$program" cost --config wide.toml
grep -v head_dim wide.toml >run.toml
expect "memory of a card" 4 "bytes are free (--device cpu)" with "" "$program" train run.toml --run run
if [ -x "$mpirun" ] && ! "$program" --version | grep -q '^MPI: not built'; then
  export STUB_DRIVER=
  expect "ranks" 0 "device: cpu; no GPU is used: several ranks do not run on GPUs yet" \
    with "" "$mpirun" -n 2 "$program" train run.toml --run ranks
  [ "$(grep -c '^device' out)" = 1 ] || fail "ranks: $(grep '^device' out)"
fi
finish
