#!/bin/bash
# The files of configs/: each loads, studies name files that are there, and the quickstart's twins are what their comments say.
#   configs_test.sh PROGRAM SOURCE
. "$(dirname "$0")/expect.sh"
configs=$2/configs

while read -r file; do
  if ! grep -q '^\[study' "$file"; then
    expect "$file" 0 "" "$program" config show "$file" --set train.steps=1 --set train.tokens=0 --set 'data.train=["x"]'
    continue
  fi
  base=$(sed -n 's/^base = "\(.*\)"$/\1/p' "$file")  # which may name them instead
  [ -z "$base" ] || [ -f "$(dirname "$file")/$base" ] || fail "$file: expected the file of its base, $base"
  models=$(sed 's/#.*//' "$file" ${base:+"$(dirname "$file")/$base"} | grep -o '"[a-z0-9-]*=[^"]*\.toml"' | tr -d '"')
  [ -n "$models" ] || fail "$file: expected models or families by file, got none"
  for named in $models; do
    [ -f "$(dirname "$file")/${named#*=}" ] || fail "$file: expected the file of $named"
  done
  if grep -q '^\[study.grid\]' "$file"; then
    expect "$file" 0 "trainings " "$program" study "$file" --dry-run --ignore-memory --out none --set study.grid.speed_seconds=0 \
      --set 'study.tasks.names=[]' --set study.grid.max_hours=0
  fi
done < <(find "$configs" -name '*.toml')

# flops CONFIG: per token.
flops() {
  "$program" cost --config "$1" --tokens 1000000 --json | sed -n 's/.*"flops_per_token":\([0-9.e+]*\).*/\1/p'
}
for pair in modern=quickstart paper=quickstart-paper; do
  dense=$configs/${pair#*=}-dense.toml moe=$configs/${pair#*=}-moe.toml
  for file in "$dense" "$moe"; do
    expect "recipe of $file" 0 "recipe = \"${pair%=*}\"" "$program" config show "$file" --set train.steps=1 --set 'data.train=["x"]'
  done
  # Equal but for the router, which is below 1 %.
  awk -v dense="$(flops "$dense")" -v moe="$(flops "$moe")" 'BEGIN { exit !(dense > 0 && moe > dense && moe < 1.01 * dense) }' ||
    fail "$pair: expected equal FLOPs but for the router, got $(flops "$dense") and $(flops "$moe")"
done
[ "$(flops "$configs/quickstart-dense.toml")" = "$(flops "$configs/quickstart-paper-dense.toml")" ] ||
  fail "expected equal FLOPs of both recipes"

finish
