#!/bin/sh
# Runs fuzzers one after the other: fuzz/run.sh BUILD SECONDS [NAME...], of all targets without a name.
# BUILD is a build folder of the preset `fuzz`. Each starts from fuzz/seeds/NAME (inputs that once failed, and what the
# formats look like), files of the tests, and what earlier runs of it found, which BUILD/found/NAME keeps. An input
# that fails is written there as crash-*, timeout-* or oom-*, and the exit code is 1.
set -eu
if [ $# -lt 2 ]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd) seconds=$2
shift 2
[ $# -gt 0 ] || set -- $(cd "$root/fuzz" && ls *.cpp | sed 's/\.cpp$//')

# Files of the repository that a target reads as they are.
seeds() {
  data=$root/tests/data
  case $1 in
    tokenizer_json) ls "$data"/tokenizer/*.json "$data"/tokenizer/published/* "$data"/tokenizer/sentencepiece/*.json ;;
    sentencepiece) ls "$data"/tokenizer/sentencepiece/*.model ;;
    tokenizer_config) find "$data" -name tokenizer_config.json ;;
    hf_config) find "$data/golden/hf-small" -name config.json ;;
    gguf) ls "$data"/gguf/* ;;
    torch_file | fairseq_checkpoint) ls "$data"/torch/*.pt ;;
    safetensors) ls "$data"/torch/*.safetensors ;;
    task_file) ls "$root"/tasks/*.toml ;;
    toml_config) ls "$root"/configs/*.toml ;;
    metrics_history) ls "$data"/metrics/* ;;
  esac
}

failed=
for name; do
  found=$build/found/$name
  mkdir -p "$found"
  seeds "$name" | while read -r file; do [ -d "$file" ] || cp "$file" "$found"; done
  given=$root/fuzz/seeds/$name
  [ -d "$given" ] || given=
  echo "$name: $seconds s"
  if ! nice "$build/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2560 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$found/" "$found" $given >"$build/found/$name.log" 2>&1; then
    failed="$failed $name"
    echo "$name: failed, see $build/found/$name.log" >&2
  fi
  grep -E '^stat::number_of_executed_units|cov:' "$build/found/$name.log" | tail -2
done
[ -z "$failed" ]
