#!/usr/bin/env bash
# A dense model and its sparse twin of equal FLOPs, trained and then fine-tuned on a machine with a GPU, in the root of a checkout:
#   tools/gpu/finetune.sh OUT [SECONDS] [FLAG OF tools/finetune_pair.py ...]
# Three seeds of each are trained on as many tokens as a third of SECONDS (250) allows, by a speed that is measured first with all
# six at work; then tools/finetune_pair.py fine-tunes them (SST-2, and man pages, which no model has read) until the time is up,
# and if all is done before, further seeds and tasks. OUT has what stays: results.jsonl, tables.md, logs and metrics, no weights.
# Exit code 1 if a fine-tuning failed; the others are there. A model that was not trained is said, and has none.
#   TROUPE         the program (build/gpu/troupe-gpu/troupe, as tools/gpu/pack.sh makes it)
#   FINETUNE_DATA  text and tasks, an archive (build/gpu/finetune-data.tar.xz), made where they are by
#                    tools/gpu/finetune.sh pack CORPUS TASKS
#   FINETUNE_WORK  the work folder (in memory if it has room: a training writes its whole state after each epoch)
#   DEVICE         cuda
#   JOBS           6 trainings at once
#   SHAPE          --set of both models and of their training, for trials
#   TOKENS         0: as many as there is time for; with an OUT that an earlier call filled, what that call took (run.log): the
#                    models are made again, and what is not in OUT is learnt
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
device=${DEVICE:-cuda} jobs=${JOBS:-6} tokens=${TOKENS:-0} began=$SECONDS
data=${FINETUNE_DATA:-$root/build/gpu/finetune-data.tar.xz}
troupe=${TROUPE:-$root/build/gpu/troupe-gpu/troupe}
say() { echo "finetune.sh: $((SECONDS - began)) s: $*"; }
fail() { echo "finetune.sh: $*" >&2; exit "${code:-4}"; }
usage() { code=2 fail "usage: finetune.sh OUT [SECONDS] [flag of finetune_pair.py ...] | pack CORPUS TASKS"; }
[ $# -ge 1 ] && [[ "$1" != -* ]] || usage
[ -x "$troupe" ] || fail "$troupe: expected the program, got none (tools/gpu/pack.sh; TROUPE)"
troupe=$(realpath "$troupe")

if [ "$1" = pack ]; then
  [ $# = 3 ] || usage
  set -e
  corpus=$2 tasks=$3 made=$(mktemp -d)
  trap 'rm -rf "$made"' EXIT
  mkdir -p "$made/ft/data" "$made/ft/tasks" "$(dirname "$data")"
  "$troupe" tokenizer train --vocab-size 4096 --out "$made/tok" "$corpus/train"
  for text in "$corpus"/train/*.jsonl; do
    "$troupe" encode --tokenizer "$made/tok" --out "$made/ft/data/$(basename "$text" .jsonl)" "$text"
  done
  for task in sst2 mnli boolq; do [ ! -d "$tasks/$task" ] || cp -rL "$tasks/$task" "$made/ft/tasks"; done
  head -c "${DOMAIN_BYTES:-3000000}" "$corpus/heldout/man_pages.jsonl" | sed '$d' >"$made/ft/man_pages.jsonl"
  tar -C "$made" -c ft | xz -T0 -6 >"$data"
  exit 0
fi
[[ "${2:-1}" =~ ^[1-9][0-9]*$ ]] || usage
mkdir -p "$1" || exit 4
out=$(realpath "$1") seconds=${2:-250}
shift $(($# < 2 ? $# : 2))
end=$((began + seconds))

own_work=
if [ -z "${FINETUNE_WORK:-}" ]; then
  in=/tmp
  [ "$(df --output=avail /dev/shm 2>/dev/null | tail -1)" -gt $((16 << 20)) ] 2>/dev/null && in=/dev/shm
  FINETUNE_WORK=$(mktemp -d "$in/finetune-XXXXXX") own_work=$FINETUNE_WORK
fi
work=$FINETUNE_WORK
mkdir -p "$work"
children=()
ended() {
  for child in "${children[@]}"; do kill -TERM "$child" 2>/dev/null; done
  for child in "${children[@]}"; do wait "$child" 2>/dev/null; done
  children=()
}
trap 'ended; [ -z "$own_work" ] || rm -rf "$own_work"' EXIT
trap 'exit 130' INT TERM

[ -d "$work/ft" ] || tar -C "$work" -xf "$data" || fail "$data: expected text and tasks (finetune.sh pack; FINETUNE_DATA)"
cd "$(dirname "$troupe")" || exit 4
. "$root/tools/gpu/environment.sh"
threads=$(($(nproc) / jobs))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1)) OMP_WAIT_POLICY=passive
lists=$(for folder in "$work"/ft/data/*; do echo -n "\"$folder\", "; done)
shape=(model.num_layers=6 model.d_model=256 model.num_heads=4 model.d_ff=1024 train.batch_sequences=32)
experts=(model.moe.expert_d_ff=512)
for setting in ${SHAPE:-}; do [[ "$setting" = *moe* ]] && experts+=("$setting") || shape+=("$setting"); done

# pretrain SECONDS FOLDER SEEDS SETTING...: dense and sparse models of these seeds, all at once, no longer than that.
pretrain() {
  local most=$1 into=$2 seeds=$3 failed=0 run
  shift 3
  for seed in $seeds; do
    for model in moe dense; do
      local flags=(--set "data.train=[$lists]" --set "train.seed=$seed" --set train.precision=bf16 --set train.valid_every=0
        --set train.checkpoint_every=0 --set train.keep_last=1 --set train.log_every=20)
      for setting in "${shape[@]}" "$@"; do flags+=(--set "$setting"); done
      [ "$model" = dense ] || for setting in "${experts[@]}"; do flags+=(--set "$setting"); done
      run=$into/$model/seed-$seed
      mkdir -p "$(dirname "$run")"
      timeout --signal=INT --kill-after=5 "$most" "$troupe" --device "$device" train "$root/configs/quickstart-paper-$model.toml" \
        --run "$run" --quiet "${flags[@]}" >"$run.log" 2>&1 &
      children+=($!)
    done
  done
  for child in "${children[@]}"; do wait "$child" || failed=$((failed + 1)); done
  children=()
  for seed in $seeds; do  # a model that is not finished is none
    for model in moe dense; do
      run=$into/$model/seed-$seed
      [ -f "$run/model/config.json" ] && continue
      say "$model, seed $seed: not trained: $(tail -1 "$run.log")"
      rm -rf "$run/model"
    done
  done
  return $failed
}
# What stays of the trainings.
keep() {
  local run
  for run in "$work"/pair/*/seed-?; do
    [ -d "$run" ] || continue
    local to="$out/pair${run#"$work"/pair}"
    mkdir -p "$to"
    cp "$run"/{metrics.jsonl,train.log,config.toml} "$to" 2>/dev/null
    rm -rf "$run/checkpoints"
  done
}

if [ "$tokens" = 0 ]; then
  pretrain "$seconds" "$work/speed" "1 2 3" train.steps=60 || say "measuring the speed: $? of 6 failed"
  tokens=$(python3 - "$seconds" "$work"/speed/*/*/metrics.jsonl <<'PYTHON'
import json, sys
speeds = []
for path in sys.argv[2:]:
    lines = [json.loads(line) for line in open(path)]
    speeds += [[line['tokens_per_s'] for line in lines if line.get('schema') == 'troupe.train/1'][-1]]
print(f'tokens/s: {" ".join(f"{speed:.0f}" for speed in speeds)}', file=sys.stderr)
print(max(100_000, min(24_000_000, int(min(speeds) * int(sys.argv[1]) / 3) // 100_000 * 100_000)))
PYTHON
  ) || fail "no speed is known: $(tail -qn1 "$work"/speed/*/*.log 2>/dev/null)"
  rm -rf "$work/speed"
fi
say "$tokens tokens for each model"
pretrain $((seconds * 6 / 10)) "$work/pair" "1 2 3" "train.tokens=$tokens" || say "training: $? of 6 failed"
keep
models=$(ls -d "$work"/pair/*/*/model 2>/dev/null | wc -l)
say "$models models are trained"
[ "$models" -gt 0 ] || fail "no model to fine-tune"

# finetune SECONDS FLAG...: what is not finished yet.
failed=0
finetune() {
  local most=$1
  shift
  [ "$most" -gt 0 ] || return 0
  python3 "$root/tools/finetune_pair.py" "$troupe" "$work/pair" "$work/ft/tasks" "$out" --text "man_pages=$work/ft/man_pages.jsonl" \
    --go --work "$work/runs" --device "$device" --jobs "$jobs" --minutes "$(python3 -c "print($most / 60)")" --lr 1e-3 --pieces 1600 \
    --held-out 200 --set train.precision=bf16 --set train.log_every=25 "$@" >"$out/tables.tmp" 2>>"$out/finetune.log" &
  children=($!)
  wait "${children[0]}"
  local code=$?
  failed=$((failed > code ? failed : code))
  children=()
  mv "$out/tables.tmp" "$out/tables.md"
  say "$(wc -l <"$out/results.jsonl") fine-tunings are finished (exit code $code)"
}
left() { echo $((end - SECONDS - 8)); }
finetune "$(left)" "$@"
if [ "$(left)" -gt 60 ]; then  # all is done: further seeds
  pretrain $(($(left) / 2)) "$work/pair" "4 5" "train.tokens=$tokens" || say "training: $? of 4 failed"
  keep
  finetune "$(left)" "$@" --seeds 5
fi
[ "$(left)" -lt 20 ] || finetune "$(left)" "$@" --seeds 5 --others mnli,boolq
cat "$out/tables.md"
exit $failed
