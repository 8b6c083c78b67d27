#!/usr/bin/env bash
# Builds here what check.sh runs on a machine with a GPU that has none of our libraries, and packs it:
#   tools/gpu/pack.sh [OUT]        default: build/gpu/troupe-gpu.tar.xz
# Needs nvcc. In the archive: the program, test programs (gpu_rows: every row for CUDA of every op; gpu_models: whole
# models; gpu_ranks: models of several ranks), the shared libraries beside them, check.sh, check.py and PyTorch's steps;
# where the program is built with Open MPI of a Debian package also that, in mpi/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "${1:-build/gpu/troupe-gpu.tar.xz}")
most_bytes=$((25 * 1024 * 1024))

cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTROUPE_CUDA=ON -DTROUPE_ONEDNN=OFF -DTROUPE_GPU_TESTS=ON \
  -Wno-dev >/dev/null
[ -d build/gpu/headers/cudnn-frontend ] || echo "pack.sh: without attention by cuDNN (first: tools/gpu/headers.sh)" >&2
[ -d build/gpu/headers/cutlass ] || echo "pack.sh: without products by CUTLASS (first: tools/gpu/headers.sh)" >&2
programs=(troupe gpu_rows gpu_models gpu_ranks)
cmake --build build/gpu --target "${programs[@]}"

folder=build/gpu/troupe-gpu
rm -rf "$folder"
mkdir -p "$folder/lib"
cp build/gpu/src/cli/troupe $(printf 'build/gpu/tests/%s ' "${programs[@]:1}") \
  tools/gpu/check.sh tools/gpu/check.py tools/gpu/environment.sh \
  tools/peers/gpu_step.py "$folder"
(cd "$folder" && strip "${programs[@]}")
# Open MPI finds its parts by variables (environment.sh). Those for networks that one machine has not are left out.
plugins=$(ompi_info --path pkglibdir --parsable 2>/dev/null | sed 's/^path:pkglibdir://' || true)
pmix=$(dirname "$(realpath /usr/lib/*/pmix2/lib/libpmix.so 2>/dev/null | head -1)" 2>/dev/null || true)
if ! "$folder/troupe" --version | grep -q '^MPI: not built' && [ -d "$plugins" ] && [ -d "$pmix/pmix" ]; then
  mkdir -p "$folder/mpi/bin" "$folder/mpi/plugins" "$folder/mpi/pmix/lib"
  cp -L "$(command -v mpirun)" "$(command -v orted)" "$folder/mpi/bin"
  cp -rL "$(ompi_info --path pkgdatadir --parsable | sed 's/^path:pkgdatadir://')" "$folder/mpi/share"
  cp -rL "$(ompi_info --path sysconfdir --parsable | sed 's/^path:sysconfdir://')" "$folder/mpi/etc"
  cp -rL "$pmix/pmix" "$folder/mpi/pmix/lib"
  [ -d "$pmix/../share" ] && cp -rL "$pmix/../share" "$folder/mpi/pmix"
  for plugin in "$plugins"/*.so "$folder"/mpi/pmix/lib/pmix/*.so; do
    if ldd "$plugin" | grep -qE 'lib(ucp|fabric|psm2?|psm_infinipath|ibverbs|oshmem|mca_common_(ofi|ucx|monitoring|verbs|ompio))'; then
      rm -f "$folder/mpi/pmix/lib/pmix/$(basename "$plugin")"
    elif [[ $plugin == "$plugins"/* ]]; then
      cp -L "$plugin" "$folder/mpi/plugins"
    fi
  done
  carried=("$folder"/mpi/bin/* "$folder"/mpi/plugins/*.so "$folder"/mpi/pmix/lib/pmix/*.so)
else
  echo "pack.sh: without Open MPI (Debian: libopenmpi-dev, openmpi-bin): ranks are not checked" >&2
  carried=()
fi
# All but the C library's, which every machine has. ldd fails over what is no program, as a script of Open MPI's.
{ (cd "$folder" && ldd "${programs[@]/#/./}"); [ ${#carried[@]} = 0 ] || ldd "${carried[@]}" || true; } | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
  grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv|ld-linux[^/]*)\.so' | xargs -I{} cp -L {} "$folder/lib"
git rev-parse --short HEAD >"$folder/commit"
XZ_OPT=--lzma2=preset=6,dict=64MiB tar -C build/gpu -cJf "$out" troupe-gpu  # the programs are alike for megabytes
bytes=$(stat -c %s "$out")
if [ "$bytes" -gt $most_bytes ]; then
  echo "pack.sh: $out: expected at most $most_bytes bytes, got $bytes" >&2
  exit 1
fi
echo "$out: $bytes bytes"
