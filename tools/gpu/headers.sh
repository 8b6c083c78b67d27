#!/usr/bin/env bash
# Fetches the headers of cuBLAS from PyPI into build/gpu/headers, so that our declarations are checked against them (CMake
# finds them there at its next run):
#   tools/gpu/headers.sh [VERSION]     default: that of PyTorch 2.11
# NVIDIA's licence is its own: nothing of it belongs into the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=${1:-13.1.0.3}
folder=build/gpu/headers
mkdir -p "$folder"
python3 -m pip download --quiet --no-deps --dest "$folder" "nvidia-cublas==$version"
python3 - "$folder" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
for wheel in folder.glob('*.whl'):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if '/include/' in name and name.endswith('.h'):
                (folder / pathlib.Path(name).name).write_bytes(archive.read(name))
    wheel.unlink()
PYTHON
echo "$folder: $(ls "$folder" | wc -l) headers of cuBLAS $version"
