#!/usr/bin/env bash
# Installs what the tests need (without root or sudo, or with --without-root, it is unpacked below build/packages
# instead), builds, and runs every test. Other arguments go to ctest, e.g. ./test.sh -L unit
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. tools/setup.sh
install_packages build quickstart optional tests
build release all
# Test programs share the cores: waiting threads should sleep, not spin.
export OMP_WAIT_POLICY=passive
exec ctest --test-dir build/release --no-tests=error --output-on-failure --parallel "$(nproc)" "${arguments[@]}"
