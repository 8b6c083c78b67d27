# Sourced by check.sh and study.sh in the folder of the programs that pack.sh made: where libraries are.
export LD_LIBRARY_PATH="$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
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
