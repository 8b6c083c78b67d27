# Sourced by quickstart.sh --cuda after setup.sh: a CUDA toolkit and libraries for one program, below
# build/cuda-toolkit, from NVIDIA's wheels on PyPI, by pip. Its licence is NVIDIA's own.
cuda_folder=$root/build/cuda-toolkit

# Ends here unless the driver of a GPU is there and starts.
require_driver() {
  command -v python3 >/dev/null || fail "--cuda: expected python3, got none in PATH"
  python3 - <<'PYTHON' || fail "--cuda: expected a GPU and its driver, got none that works (without a card: --cuda --fetch-only; without a GPU: ./quickstart.sh)"
import ctypes, sys
try:
    sys.exit(ctypes.CDLL("libcuda.so.1").cuInit(0) != 0)
except OSError:
    sys.exit(1)
PYTHON
}

# The root of a toolkit that is installed, or "".
installed_toolkit() {
  local folder
  for folder in "${TROUPE_CUDA_ROOT:-}" /usr/local/cuda /opt/cuda; do
    if [ -n "$folder" ] && [ -x "$folder/bin/nvcc" ] && [ -f "$folder/include/cuda.h" ]; then echo "$folder" && return; fi
  done
}

# fetch_cuda: what is not there yet. cuBLAS and cuDNN are those of PyTorch 2.11, as in gpu/headers.sh; cuDNN wants the
# runtime and its compiler.
fetch_cuda() {
  local wheels=(nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.19.0.56 nvidia-cudnn-frontend==1.18.0
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88)
  [ -n "$(installed_toolkit)" ] || wheels+=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88)
  local wheel have missing=
  have=" $(cat "$cuda_folder/wheels" 2>/dev/null || true) "  # perhaps fetched where there was no toolkit, and more
  for wheel in "${wheels[@]}"; do [[ $have = *" $wheel "* ]] || missing=1; done
  if [ -z "$missing" ]; then return; fi
  echo "Fetching ${wheels[*]} into $cuda_folder (about 1 GB)"
  rm -rf "$cuda_folder"
  mkdir -p "$cuda_folder"
  python3 -m pip --disable-pip-version-check install --quiet --no-deps --no-cache-dir --target "$cuda_folder" "${wheels[@]}" ||
    fail "pip could not fetch them (its message is above; is the network reachable? Debian: python3-pip)"
  echo "${wheels[*]}" >"$cuda_folder/wheels"
}

# Makes CMake and the program look there.
use_cuda() {
  local toolkit libraries=$cuda_folder/nvidia/cu13/lib:$cuda_folder/nvidia/cudnn/lib
  toolkit=$(installed_toolkit)
  export TROUPE_CUDA_ROOT=${toolkit:-$cuda_folder/nvidia/cu13}
  export TROUPE_CUDA_LIBRARIES=$libraries${TROUPE_CUDA_LIBRARIES:+:$TROUPE_CUDA_LIBRARIES}
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}  # where these find each other
  cmake_flags+=(-DTROUPE_CUDA=ON -DTROUPE_NVCC="$TROUPE_CUDA_ROOT/bin/nvcc" -DTROUPE_CUDA_INCLUDE="$TROUPE_CUDA_ROOT/include"
    -DTROUPE_CUBLASLT_INCLUDE="$cuda_folder/nvidia/cu13/include" -DTROUPE_CUDNN_INCLUDE="$cuda_folder/nvidia/cudnn/include"
    -DTROUPE_CUDNN_FRONTEND_INCLUDE="$cuda_folder/include")
}
