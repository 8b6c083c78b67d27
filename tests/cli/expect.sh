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

# cats N: that many small documents.
cats() {
  local i
  for i in $(seq "$1"); do printf 'The %sth cat sat on mat number %s.\n\n' $((i % 7)) $((i % 11)); done
}

# small_model LAYERS CONTEXT: the table of a model under GPT-2's tokens, for the start of a configuration.
small_model() {
  printf '%s\n' '[model]' "num_layers = $1" 'd_model = 32' 'num_heads = 2' 'd_ff = 64' 'vocab_size = 50257' 'eos_id = 50256' \
    "context = $2"
}

# pets_task: a task file whose items are in pets/v.jsonl.
pets_task() {
  cat <<'END'
name = "pets"
about = "cats and dogs"
citation = "none"
published = "none"
folder = "pets"
evaluate = "v"
[[source]]
format = "jsonl"
files = { v = "v.jsonl" }
[harness]
context = "{q}"
choices = "{a}"
label = "{y}"
metrics = ["acc"]
END
}

# sky_data: items of the task sky in tasks/sky, of which `all` has all. Sun is good, rain is bad.
sky_data() {
  local i word label
  mkdir -p tasks/sky
  for i in $(seq 48); do
    word=sun label=1
    [ $((i * 7 % 5 % 2)) -eq 0 ] && word=rain label=0
    echo "{\"t\": \"the $word of day $i\", \"y\": \"$label\"}"
  done >all
  head -32 all >tasks/sky/train.jsonl
  tail -16 all >tasks/sky/val.jsonl
}

# sky_task: its task file.
sky_task() {
  cat <<'END'
name = "sky"
about = "sun or rain"
citation = "none"
published = "none"
folder = "sky"
evaluate = "val"
shots = "train"
[[source]]
format = "jsonl"
files = { val = "val.jsonl", train = "train.jsonl" }
[paper]
context = "{t} it was"
choices = ["bad", "good"]
label = "{y}"
labels = ["0", "1"]
END
}

finish() {
  [ $failures -eq 0 ] && echo "all as expected"
  exit $((failures > 0))
}
