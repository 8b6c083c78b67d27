#!/usr/bin/env bash
# Fetches headers of NVIDIA's from PyPI into build/gpu/headers, where CMake finds them at its next run:
#   tools/gpu/headers.sh
# of cuBLAS, which our declarations are checked against; of cuDNN and its C++ frontend, with which attention by cuDNN is
# compiled, all in the versions of PyTorch 2.11; of CUTLASS (BSD-3), with which products of experts are. NVIDIA's licence
# of the others is its own: nothing of it belongs into the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=build/gpu/headers
rm -rf "$folder"
mkdir -p "$folder"
for package in nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.19.0.56 nvidia-cudnn-frontend==1.18.0 nvidia-cutlass==4.2.0.0; do
  python3 -m pip download --quiet --no-deps --dest "$folder" "$package"
  # Those below nvidia/NAME/include lie in one folder; the frontend's include each other as ../include/X, CUTLASS' by
  # their folders.
  python3 - "$folder" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
for wheel in folder.glob('*.whl'):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(('.h', '.hpp', '.inl')):
                continue
            cutlass = 'cutlass_library/source/include/'
            if name.startswith(cutlass):
                path = folder / 'cutlass' / 'include' / name.removeprefix(cutlass)
            elif name.startswith('cutlass_library/'):
                continue
            elif name.startswith('include/'):
                path = folder / 'cudnn-frontend' / name
            elif '/include/' in name:
                path = folder / pathlib.Path(name).name
            else:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
    wheel.unlink()
PYTHON
  echo "$package: headers in $folder"
done
