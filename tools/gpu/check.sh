#!/usr/bin/env bash
# On a machine with a GPU, in the folder that pack.sh made:
#   ./check.sh smoke|correct|speed|peers [OUT.json] [--seconds N] [--models NAME...]
# smoke: do the programs start, is there a card, does one kernel give what it should? It stops at the first thing missing.
# correct: every row for CUDA, whole models, a run that goes on on the other device, a layer under compute-sanitizer.
# speed: training steps, and two of PyTorch's beside them; peers: all of PyTorch's. Each part takes less than four minutes
# and begins with smoke; speed and peers stop after --seconds with what they have.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export LD_LIBRARY_PATH="$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
for program in troupe gpu_rows gpu_models; do
  if missing=$(ldd "./$program" | grep 'not found'); then
    echo "check.sh: $program: missing libraries:$missing" >&2
    exit 4
  fi
done
command -v python3 >/dev/null || { echo "check.sh: expected python3, got none" >&2; exit 4; }
# cuBLASLt, cuDNN and the CUDA runtime that it needs from the packages of PyTorch, where there is no toolkit's.
if [ -z "${TROUPE_CUDA_LIBRARIES:-}" ]; then
  TROUPE_CUDA_LIBRARIES=$(python3 - <<'PYTHON'
import glob, site, sys
folders = site.getsitepackages() + [site.getusersitepackages()] + sys.path
print(':'.join(sorted({found.rsplit('/', 1)[0] for folder in folders if folder
                       for name in ('libcublasLt.so.1?', 'libcudnn.so.9', 'libcudart.so.1?')
                       for found in glob.glob(f'{folder}/nvidia/*/lib/{name}')})))
PYTHON
)
  export TROUPE_CUDA_LIBRARIES
fi
exec python3 check.py "$@"
