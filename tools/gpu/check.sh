#!/usr/bin/env bash
# On a machine with a GPU, in the folder that pack.sh made:
#   ./check.sh smoke|correct|ranks|speed|peers [OUT.json] [--seconds N] [--models NAME...]
# smoke: do the programs start, is there a card, does one kernel give what it should? It stops at the first thing missing.
# correct: every row for CUDA, whole models, two ranks on the one card, a run that goes on on the other device, a layer
# under compute-sanitizer.
# ranks: of these what two ranks do, alone.
# speed: training steps, and two of PyTorch's beside them; peers: all of PyTorch's. Each part takes less than four minutes
# and begins with smoke; speed and peers stop after --seconds with what they have.
# Switches (docs/architecture.md), to be measured beside what is the default; those set stand in OUT.json:
#   TROUPE_CUDA_GROUPED=0|1      experts' products never / always in one launch; not set: small ones
#   TROUPE_CUDA_DETERMINISTIC=0  attention's backward pass adds in any order, as PyTorch's does
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
command -v python3 >/dev/null || { echo "check.sh: expected python3, got none" >&2; exit 4; }
. ./environment.sh
for program in troupe gpu_rows gpu_models; do
  if missing=$(ldd "./$program" | grep 'not found'); then
    echo "check.sh: $program: missing libraries:$missing" >&2
    exit 4
  fi
done
exec python3 check.py "$@"
