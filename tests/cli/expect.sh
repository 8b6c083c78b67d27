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

# needs_ranks MPIRUN: leaves the test where no several processes can be started; then `on N WORDS...` is the program on N ranks.
needs_ranks() {
  mpirun=$1
  "$program" --version | grep -q '^MPI: not built' && { echo "skipped: built without MPI"; exit 0; }
  [ -x "$mpirun" ] || { echo "skipped: no mpirun in PATH"; exit 0; }
  export NO_COLOR=1  # mpirun's ranks write to a terminal of its own
}
on() { local ranks=$1; shift; "$mpirun" -n "$ranks" "$program" "$@"; }

# study_models EXPERTS: dense.toml and moe.toml, whose tokens, vocabulary and text a study gives.
study_models() {
  cat >dense.toml <<'END'
[model]
num_layers = 2
d_model = 16
num_heads = 1
d_ff = 32
context = 32
[train]
batch_sequences = 4
precision = "fp32"
checkpoint_every = 4
log_every = 1
[train.schedule]
lr = 3e-3
END
  printf '%s\n' 'base = "dense.toml"' '[model.moe]' "num_experts = $1" 'expert_d_ff = 32' >moe.toml
}

# cats_run LINE...: text.txt, its tokenizer tok and its tokens data, and run.toml: a model with these lines of [model.moe], for
# two updates.
cats_run() {
  cats 40 >text.txt
  "$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1 || fail "tokenizer"
  "$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1 || fail "encode"
  { cat <<'END'
[model]
num_layers = 2
d_model = 16
num_heads = 2
d_ff = 24
vocab_size = 300
context = 48
[model.moe]
END
    printf '%s\n' "$@"
    cat <<'END'
[train]
steps = 2
batch_sequences = 4
precision = "fp32"
[data]
train = ["data"]
END
  } >run.toml
}

finish() {
  [ $failures -eq 0 ] && echo "all as expected"
  exit $((failures > 0))
}
