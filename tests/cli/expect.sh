# Sourced by the tests of this folder: PROGRAM as $program, this folder as $tests, a temporary folder to work in, and what
# to expect of a command.
# A test ends with `finish`.
set -u
program=$(realpath "$1")
tests=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect WHAT RC TEXT COMMAND...: the exit code, and a text (or "") in stdout or stderr, which are kept in the file `out`.
expect() {
  local what=$1 code=$2 text=$3 status
  shift 3
  "$@" >out 2>&1
  status=$?
  if [ $status -ne "$code" ] || { [ -n "$text" ] && ! grep -qF -- "$text" out; }; then
    fail "$what: expected exit code $code and \"$text\", got $status and:"
    tail -20 out
  fi
}

finish() {
  [ $failures -eq 0 ] && echo "all as expected"
  exit $((failures > 0))
}
