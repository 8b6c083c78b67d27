#!/usr/bin/env bash
# On a machine with a GPU, in the folder that pack.sh made:
#   ./check.sh smoke|correct|ranks|speed|options [OUT.json] [--seconds N] [--models NAME...]
# smoke: do the programs start, is there a card, does one kernel give what it should? It stops at the first thing missing.
# correct: every row for CUDA, whole models, two ranks on the one card, a run that goes on on the other device, a layer
# under compute-sanitizer.
# ranks: of these what two ranks do, alone.
# speed: training steps of all models by Troupe and by PyTorch in alternating order, twice as far as time goes, and their
#   ratios; --before FOLDER: and by the program of another pack; --alone: without PyTorch.
# options: Troupe's own options and switches, each beside the row without it, and whether --device auto takes the card.
# Each begins with smoke, writes OUT.json after every row and stops after --seconds (440) with what it has; correct takes
# less than four minutes. --dry-run tries speed and options on the processor, with small models.
# Switches (docs/architecture.md), to be measured beside what is the default; those set stand in OUT.json:
#   TROUPE_CUDA_GROUPED=0|1      experts' products never / always in one launch; not set: small ones
#   TROUPE_CUDA_GROUPED=cutlass  in one launch of CUTLASS' (if tools/gpu/headers.sh ran before pack.sh)
#   TROUPE_CUDA_DETERMINISTIC=0  attention's backward pass adds in any order, as PyTorch's does
#   TROUPE_CUDA_BIAS_SUMS=1      the library sums up gradients of biases in the products for those of weights
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
