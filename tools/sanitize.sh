#!/bin/sh
# Builds the tests whose code meets outside bytes, files, threads and signals under sanitizers, and runs them:
#   tools/sanitize.sh asan|tsan [CTEST OPTIONS...]      e.g. tools/sanitize.sh asan -R unit/io
# asan: unit, resume and fault tests and the program as users run it (cli), under AddressSanitizer and UBSan.
# tsan: unit tests of layers that start threads, resume tests, and several ranks under MPI. What is found ends a test.
# Needs Debian's clang, libomp-14-dev and libclang-rt-14-dev besides what test.sh installs.
set -eu
cd "$(dirname "$0")/.."
unit() {
  for layer; do
    [ ! -d "tests/unit/$layer" ] || echo "unit_${layer}_tests"
  done
}
case ${1-} in
  asan)
    targets="troupe $(unit base tensor io ops nn model data infer eval train study cli) resume_train_tests fault_io_tests"
    tests='^(unit|resume|fault|cli)/'
    ;;
  tsan)
    targets="$(unit base data io infer train) resume_train_tests ranks_dist_tests ranks_train_tests"
    tests='^(unit/(base|data|io|infer|train)|resume|ranks/(dist|train))/'
    # The OpenMP runtime is not instrumented; what it orders is told by its tool Archer, which it finds by itself.
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1 ${TSAN_OPTIONS-}"
    ;;
  *)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
kind=$1
shift
cmake --preset "$kind" -Wno-dev -DCMAKE_CXX_COMPILER=clang++
cmake --build --preset "$kind" --target $targets
export OMP_WAIT_POLICY=passive
# Tests of scripts and sources need no sanitizer, and cli/ranks is too slow for its limit.
exec ctest --test-dir "build/$kind" --no-tests=error --output-on-failure --parallel "$(nproc)" -R "$tests" \
  -E '^unit/(layers|install|host_access|bindings|io/one_json_writer|kernels)|^cli/ranks$' "$@"
