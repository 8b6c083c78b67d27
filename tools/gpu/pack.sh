#!/usr/bin/env bash
# Builds here what check.sh runs on a machine with a GPU that has none of our libraries, and packs it:
#   tools/gpu/pack.sh [OUT]        default: build/gpu/troupe-gpu.tar.xz
# Needs nvcc. In the archive: the program, two test programs (gpu_rows: every row for CUDA of every op; gpu_models: whole
# models), the shared libraries beside them, check.sh, check.py and PyTorch's steps.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "${1:-build/gpu/troupe-gpu.tar.xz}")
most_bytes=$((25 * 1024 * 1024))

cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTROUPE_CUDA=ON -DTROUPE_ONEDNN=OFF -DTROUPE_GPU_TESTS=ON \
  -Wno-dev >/dev/null
[ -d build/gpu/headers/cudnn-frontend ] || echo "pack.sh: without attention by cuDNN (first: tools/gpu/headers.sh)" >&2
cmake --build build/gpu --target troupe gpu_rows gpu_models

folder=build/gpu/troupe-gpu
rm -rf "$folder"
mkdir -p "$folder/lib"
cp build/gpu/src/cli/troupe build/gpu/tests/gpu_rows build/gpu/tests/gpu_models \
  tools/gpu/check.sh tools/gpu/check.py tools/gpu/environment.sh \
  tools/peers/gpu_step.py "$folder"
strip "$folder/troupe" "$folder/gpu_rows" "$folder/gpu_models"
# All but the C library's, which every machine has.
ldd "$folder/troupe" "$folder/gpu_rows" "$folder/gpu_models" | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
  grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv|ld-linux[^/]*)\.so' | xargs -I{} cp -L {} "$folder/lib"
git rev-parse --short HEAD >"$folder/commit"
tar -C build/gpu -cJf "$out" troupe-gpu
bytes=$(stat -c %s "$out")
if [ "$bytes" -gt $most_bytes ]; then
  echo "pack.sh: $out: expected at most $most_bytes bytes, got $bytes" >&2
  exit 1
fi
echo "$out: $bytes bytes"
