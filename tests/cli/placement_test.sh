#!/bin/bash
# The program starts itself once more with the settings of OpenMP that are missing: the same process, the same arguments,
# the same streams, and never again. Usage: placement_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"
unset OMP_NUM_THREADS OMP_WAIT_POLICY OMP_PROC_BIND OMP_PLACES GOMP_SPINCOUNT GOMP_CPU_AFFINITY TROUPE_PLACED
for i in $(seq 20); do printf 'The cat %s sat.\n\n' $i; done >text.txt
expect "a tokenizer" 0 "" "$program" tokenizer train --vocab-size 260 --out tok text.txt

# look SETTING...: what a process that waits for text has in its environment, and how it was called, in `environment` and
# `arguments`.
mkfifo pipe
look() {
  env "$@" "$program" encode --tokenizer tok --out "a b" --on-bad skip - <pipe >log 2>&1 &
  local process=$!
  exec 9>pipe
  for _ in $(seq 100); do ls -d a\ b.tmp-* >/dev/null 2>&1 && break; sleep 0.1; done
  tr '\0' '\n' </proc/$process/environ >environment
  tr '\0' '\n' </proc/$process/cmdline >arguments
  cat text.txt >&9
  exec 9>&-
  wait $process || { fail "look $*: exit code $?"; cat log; }
  grep -q "20 documents" log || { fail "look $*: standard input"; cat log; }
  rm -r "a b"
}
look NONE=1
grep -qx 'GOMP_SPINCOUNT=1000' environment || { fail "no shorter spinning"; cat environment; }
grep -q '^TROUPE_PLACED=.*GOMP_SPINCOUNT' environment || { fail "what was added is not said"; cat environment; }
[ "$(cat arguments)" = "$(printf '%s\n' "$program" encode --tokenizer tok --out "a b" --on-bad skip -)" ] ||
  { fail "other arguments"; cat arguments; }
look OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
grep -E '^(GOMP_SPINCOUNT|TROUPE_PLACED|OMP_PROC_BIND)=' environment && fail "settings that the user had made"
look TROUPE_PLACED=before
grep -q '^GOMP_SPINCOUNT=' environment && fail "started once more although it was"

# Exit codes and messages are those of the program that was started again; its name may be found by PATH or be another.
expect "an exit code" 3 "nowhere" "$program" inspect nowhere
expect "by PATH" 2 "(did you mean inspect?)" env PATH="$(dirname "$program"):$PATH" "$(basename "$program")" inspekt
ln -s "$program" other-name
expect "by a link" 0 "." ./other-name --version
expect "threads" 0 '"threads":' "$program" doctor --json
finish
