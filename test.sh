#!/usr/bin/env bash
# Installs what the tests need, builds, and runs every test. Extra arguments go to ctest, e.g. ./test.sh -L unit
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. tools/setup.sh
install_packages "${build_packages[@]}" "${run_packages[@]}" "${test_packages[@]}"
build release all
exec ctest --test-dir build/release --output-on-failure --parallel "$(nproc)" "$@"
