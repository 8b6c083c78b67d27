#!/usr/bin/env bash
# From a fresh Debian 12 machine to a trained Mixture-of-Experts model, its dense twin, and a report that compares them.
# Installs Debian packages (without root or sudo, or with --without-root, they are unpacked below build/packages instead),
# builds, downloads the quickstart corpus (nine Debian packages, 24.5 MB), and runs the study configs/quickstart.toml.
# --recipe paper trains fairseq's decoder with Adam, as the paper, instead (configs/quickstart-paper.toml).
# --cuda builds for a GPU, with a toolkit and libraries of NVIDIA's from PyPI below build/cuda-toolkit (tools/cuda.sh), and
# trains larger models there (configs/quickstart-cuda.toml); --cuda --fetch-only does all but the study and needs no GPU:
# the folder may then be carried to the machine that has one, to the same path, where --cuda goes on.
# Safe to interrupt and to run again: what is finished is reused.
# Other arguments go to `troupe study`, e.g. ./quickstart.sh --set study.max_minutes=30, or for three trainings of each
# model and their spread ./quickstart.sh --set 'study.seeds=[1, 2, 3]' --set study.max_minutes=15
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. tools/setup.sh
recipe=modern rest=() preset=release fetch_only=
set -- "${arguments[@]}"
while [ $# -gt 0 ]; do
  case $1 in
    --recipe) recipe=${2-} && shift $(($# > 1)) ;;
    --recipe=*) recipe=${1#*=} ;;
    --cuda) preset=cuda ;;
    --fetch-only) fetch_only=1 ;;
    *) rest+=("$1") ;;
  esac
  shift
done
case $recipe in
  modern) study=quickstart ;;
  paper) study=quickstart-paper ;;
  *) echo "error: --recipe: expected modern or paper, got ${recipe:-nothing}" >&2 && exit 2 ;;
esac
if [ $preset = cuda ]; then
  [ $recipe = modern ] || { echo "error: --cuda: expected no --recipe beside it, got $recipe" >&2 && exit 2; }
  study=quickstart-cuda
  . tools/cuda.sh
  [ -n "$fetch_only" ] || require_driver
elif [ -n "$fetch_only" ]; then
  echo "error: --fetch-only: expected --cuda beside it, got none" >&2 && exit 2
fi
echo "[1/4] Debian packages"
install_packages build quickstart optional
echo "[2/4] Build"
if [ $preset = cuda ]; then fetch_cuda; use_cuda; fi
build $preset troupe
troupe=build/$preset/src/cli/troupe
echo "[3/4] Corpus"
"$troupe" corpus build quickstart --out corpus/quickstart
if [ -n "$fetch_only" ]; then echo "All but the study is there: ./quickstart.sh --cuda" && exit; fi
echo "[4/4] Study: dense and sparse on the same tokens"
if [ $preset = cuda ]; then export TROUPE_DEVICE=cuda; fi
exec "$troupe" study "configs/$study.toml" --out "runs/$study" "${rest[@]}"
