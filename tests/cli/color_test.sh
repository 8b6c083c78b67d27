#!/bin/bash
# Colour and width: on a terminal, unless the environment or --color says otherwise; never in files and JSON. --quiet and
# --threads of every command.
# Usage: color_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
unset NO_COLOR CLICOLOR_FORCE
escape=$'\e'

# on_terminal COLUMNS COMMAND...: what it writes to a terminal of that width.
on_terminal() {
  python3 - "$@" <<'END'
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('4H', 40, int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
text = b''
while True:
    try:
        block = os.read(terminal, 65536)
    except OSError:
        break
    if not block:
        break
    text += block
sys.stdout.buffer.write(text.replace(b'\r\n', b'\n'))
END
}
# colored YES|NO WHAT COMMAND...
colored() {
  local wanted=$1 what=$2
  shift 2
  "$@" >out 2>&1
  if grep -q "$escape\[" out; then got=yes; else got=no; fi
  [ $got = "$wanted" ] || fail "$what: expected colours: $wanted, got $got: $(head -5 out | cat -v)"
}
export TERM=xterm
colored yes "help" on_terminal 100 "$program" eval ppl --help
colored yes "an error" on_terminal 100 "$program" inspect nothing
colored yes "a table" on_terminal 100 "$program" cost --table
colored no "JSON" on_terminal 100 "$program" cost --table --json
colored no "NO_COLOR" on_terminal 100 env NO_COLOR=1 "$program" eval ppl --help
colored yes "an empty NO_COLOR" on_terminal 100 env NO_COLOR= "$program" eval ppl --help
colored no "a dumb terminal" on_terminal 100 env TERM=dumb "$program" eval ppl --help
colored no "--color never" on_terminal 100 "$program" --color never eval ppl --help
colored no "--color=never" on_terminal 100 "$program" inspect nothing --color=never
colored no "a pipe" "$program" cost --table
colored no "a pipe's error" "$program" inspect nothing
colored yes "CLICOLOR_FORCE" env CLICOLOR_FORCE=1 "$program" cost --table
colored no "CLICOLOR_FORCE=0" env CLICOLOR_FORCE=0 "$program" cost --table
colored yes "NO_COLOR and --color always" env NO_COLOR=1 "$program" --color always cost --table
colored no "JSON in colour" "$program" --color always cost --table --json
colored yes "--color always of an error" "$program" inspect nothing --color always
expect "a colour that is none" 2 "--color: expected one of auto, always, never, got red" "$program" cost --color red

for columns in 60 100; do
  on_terminal $columns "$program" --color never eval ppl --help >out
  longest=$(awk '{ if (length($0) > most) most = length($0) } END { print most }' out)
  [ "$longest" -le $columns ] || fail "help on $columns columns: a line of $longest"
done
"$program" eval ppl --help >out
grep -q 'a folder of token shards, or fairseq' out || fail "help in a pipe is wrapped"

seq 1 2000 >text.txt
expect "--quiet" 0 "" "$program" tokenizer train --vocab-size 300 --out tok text.txt -q
[ "$(wc -l <out)" = 1 ] || fail "--quiet: expected the result alone, got: $(cat out)"
# Lines on a terminal stand above the progress bar, those of the log and results alike.
{ small_model 1 16; cat <<'END'; } >run.toml
[train]
steps = 300
batch_sequences = 2
log_every = 20
valid_every = 50
[data]
train = ["data"]
valid = ["data"]
END
sed -i "s/50257/300/; s/eos_id = .*/eos_id = 0/" run.toml
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1 || fail "encode"
on_terminal 100 "$program" train run.toml --run run --json >out
python3 - out <<'END' || fail "lines over a progress bar: $(cat -v out)"
import re, sys
text = open(sys.argv[1], newline='').read()
bar = re.compile(r'\[[#.]{24}\]')
assert bar.search(text), "no bar was drawn"
lines = [line.rsplit('\r\x1b[K', 1)[-1] for line in text.split('\n')]  # what is left of each
assert not any(bar.search(line) for line in lines[:-1]), "a bar stayed"
assert sum(line.startswith('{"schema":"troupe.train/1"') for line in lines) == 15, "lines of JSON"
assert sum(line.startswith('step ') for line in lines) == 6, "lines of the log"
END
expect "--quiet keeps warnings" 0 "warning:" "$program" tokenizer train --vocab-size 60000 --out big text.txt --quiet
expect "--quiet keeps errors" 3 "error: nothing" "$program" --quiet inspect nothing
for place in "doctor --json --threads 3" "--threads 3 doctor --json" "doctor --threads=3 --json"; do
  # shellcheck disable=SC2086
  expect "$place" 0 '"threads":3,' "$program" $place
done
expect "threads that cannot be" 2 "--threads: expected a whole number from 1 to 4096, got 0" "$program" doctor --threads 0
finish
