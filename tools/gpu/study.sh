#!/usr/bin/env bash
# A study on a machine with a GPU, in the root of a checkout:
#   tools/gpu/study.sh WHAT OUT [SECONDS] [--set key=value ...]
# WHAT, a study made for processors, of small models:
#   full  configs/study-full.toml, 70 trainings
#   long  configs/study-long.toml, and larger budgets, one more size and more experts
# or a slice of configs/study-gpu.toml, each useful alone, the most valuable first, and each with the runs of those before it:
#   a   dense and 16 experts at 10, 20 and 40M active parameters, 30 and 60M tokens, one seed; cheapest first
#   b   and two more seeds at two points of each family
#   c   apart, in OUT/rates: three learning rates at the smallest size
#   d   and 8, 32 and 64 experts at the smallest size
#   e   and 120M tokens (which wants 30M tokens of text: study.grid.max_epochs)
# It stops after SECONDS (270) as if by Ctrl-C; what is finished is in OUT, tables and report with it. The next slice goes
# on from there: the work folder is kept on the same machine, on another one carry OUT and name it STUDY_FROM.
#   TROUPE      the program (build/gpu/troupe-gpu/troupe, as tools/gpu/pack.sh makes it)
#   STUDY_DATA  corpus, a folder or an archive by tools/gpu/study_data.py (build/gpu/study-data.tar.xz)
#   STUDY_WORK  the work folder (build/gpu/study)
#   PROCESSES   that share the study and the GPU (1). An update of a small model is too short to fill a GPU: eight processes
#               under NVIDIA's MPS (`nvidia-cuda-mps-control -d` before, `echo quit | nvidia-cuda-mps-control` after it)
#   DEVICE      cuda
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ $# -lt 2 ] || [[ ! "$1" =~ ^([a-e]|full|long)$ ]] || [[ ! "${3:-1}" =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: study.sh full|long|a|b|c|d|e OUT [SECONDS] [--set key=value ...]" >&2
  exit 2
fi
slice=$1 seconds=${3:-270}
mkdir -p "$2"
out=$(realpath "$2")
shift $(($# < 3 ? $# : 3))
troupe=$(realpath "${TROUPE:-$root/build/gpu/troupe-gpu/troupe}")
work=$(realpath -m "${STUDY_WORK:-$root/build/gpu/study}")
data=${STUDY_DATA:-$root/build/gpu/study-data.tar.xz}
[ -x "$troupe" ] || { echo "study.sh: $troupe: expected the program, got none (tools/gpu/pack.sh; TROUPE)" >&2; exit 4; }

mkdir -p "$work"
if [ -d "$data" ]; then
  corpus=$(realpath "$data")
else
  corpus=$work/study-data
  if [ ! -f "$corpus/manifest.json" ]; then
    tar -C "$work" -xf "$data" || { echo "study.sh: $data: expected the corpus (tools/gpu/study_data.py; STUDY_DATA)" >&2; exit 4; }
  fi
fi
config=study-gpu kept=$work/out
if [[ "$slice" =~ ^(full|long)$ ]]; then config=study-$slice kept=$work/full; fi
if [ -n "${STUDY_FROM:-}" ] && [ ! -d "$kept/runs" ]; then
  mkdir -p "$kept"
  cp -a "$STUDY_FROM/." "$kept"
fi
cd "$(dirname "$troupe")"
. "$root/tools/gpu/environment.sh"

seeds=('study.grid.more_seeds=[2, 3]' 'study.grid.more_seeds_at=["*-16/8x[23]*/30000000", "dense/8x[23]*/30000000"]')
families=$(for name in dense moe-16 moe-8 moe-32 moe-64; do echo -n "\"$name=$root/configs/study/gpu/$name.toml\", "; done)
experts=("study.grid.families=[$families]")  # beyond 16 at the smallest size and budget alone
skipped=$(for names in 'moe-8' 'moe-[36][24]'; do echo -n "\"$names/8x384/*\", \"$names/10x512/*\", \"$names/*/[!3]*\", "; done)
experts+=("study.grid.skip=[$skipped]")
short='study.grid.tokens=[30_000_000, 60_000_000]' into=$kept settings=()
case $slice in
  a) settings=("$short") ;;
  b) settings=("$short" "${seeds[@]}") ;;
  c) settings=('study.grid.tokens=[30_000_000]' 'study.grid.sizes=["8x256"]' 'study.grid.lr_trials=3') into=$work/out/rates ;;
  d) settings=("$short" "${seeds[@]}" "${experts[@]}") ;;
  e) settings=("${seeds[@]}" "${experts[@]}") ;;
esac
flags=()
for setting in "study.corpus=\"$corpus\"" "${settings[@]}"; do flags+=(--set "$setting"); done

mkdir -p "$into" "$kept/runs"
if [ "$slice" = c ] && [ ! -d "$into/data" ] && [ -f "$kept/data/made-from.json" ]; then  # nothing is made twice
  cp -a "$kept/data" "$into"
  (cd "$kept" && find runs -path '*/8x256/30000000/*' -type f -print0 | tar -c --null -T - | tar -C "$into" -x)
fi
study() {
  timeout --signal=INT --kill-after=60 "$seconds" "$troupe" --device "${DEVICE:-cuda}" study "$root/configs/$config.toml" \
    --out "$into" "${flags[@]}" "$@"
}
for ((process = 1; process < ${PROCESSES:-1}; ++process)); do  # what they say is kept apart
  study "$@" >"$work/process-$process.log" 2>&1 &
done
others=$(jobs -p)
code=0
study "$@" || code=$?
for process in $others; do  # 124 and 130: the time was up
  ended=0
  wait "$process" || ended=$?
  [[ "$ended" =~ ^(0|124|130)$ ]] || echo "study.sh: a process beside the first ended with $ended: $work/process-*.log" >&2
done

# What stays of a study: no text, no weights, no checkpoints.
tar -C "$kept" --exclude=data --exclude=model --exclude=checkpoints --exclude='*.safetensors' --exclude='.*.lock' -cf - . |
  tar -C "$out" -xf -
echo "study.sh: $slice: $(find "$out" -name result.json | wc -l) runs are finished, in $out ($(du -sh "$out" | cut -f1))"
[ "$code" = 124 ] || [ "$code" = 130 ] || exit "$code"
