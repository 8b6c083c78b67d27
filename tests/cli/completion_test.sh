#!/bin/bash
# Completion in real shells, manual pages, and that both and docs/cli.md say what --help says.
# Usage: completion_test.sh PROGRAM DOCS_CLI_MD
. "$(dirname "$0")/expect.sh"

expect "docs/cli.md" 0 "" "$program" man --check "$2"
sed 's/^| `--temperature .*/| gone |/' "$2" >stale.md
expect "a stale page" 1 "expected the output of \`troupe man --markdown\`" "$program" man --check stale.md

# complete WORD...: what bash offers for the last word, in one line, sorted.
"$program" completion bash >troupe.bash || fail "completion bash"
mkdir -p folder/below && touch "folder/a file.toml" plain.toml
complete_bash() {
  bash -c 'source ./troupe.bash; shift 0; COMP_WORDS=(troupe "$@"); COMP_CWORD=$#; _troupe; printf "%s\n" "${COMPREPLY[@]}"' \
    bash "$@" | sort | tr '\n' ' '
}
# offers WHAT "EXPECTED " WORD...
offers() {
  local expected=$1 got
  shift
  got=$(complete_bash "$@")
  [ "$got" = "$expected" ] || fail "bash: troupe $*: expected \"$expected\", got \"$got\""
}
offers "completion config convert corpus cost " co
offers "ppl " eval p
offers "--precision --prompt --prompts " generate --pr
offers "blocks documents sliding " eval ppl --mode ""
offers "sliding " eval ppl --mode = s
offers "model.moe.num_experts= " train x.toml --set model.moe.num_e
offers "study.sample_temperature= study.sample_tokens= " study x.toml --set study.sample_
offers "moe-52b " cost --preset moe-5
offers "lambada " eval tasks --tasks lamb
offers "copa,piqa,lambada " eval tasks --tasks copa,piqa,lamb
offers " " eval tasks --tasks lambada,lamb
offers "stereoset,crows_pairs " eval bias --sets stereoset,
offers "stereoset,crows_pairs " eval bias --sets = stereoset,
offers "folder/below " train x.toml --run folder/
offers "plain.toml " train p
offers "folder/a file.toml folder/below " train folder/
offers "never " --color n
offers "--threads " --color never eval ppl --thr
offers "train " help tr
offers " " generate --seed ""

# Every flag of --help is in the scripts, and nothing else.
for command in train "eval ppl" "eval tasks" "corpus build" cost man; do
  # shellcheck disable=SC2086
  "$program" $command --help | grep -oE '^ +-[-a-zA-Z,]+' | tr -d ' ' | tr , '\n' | sort >help.txt
  # shellcheck disable=SC2086
  complete_bash $command - | tr ' ' '\n' | sed '/^$/d' | sort >offered.txt
  diff help.txt offered.txt >difference || fail "flags of $command: $(cat difference)"
done

"$program" completion zsh >_troupe || fail "completion zsh"
"$program" completion fish >troupe.fish || fail "completion fish"
expect "a shell that is not known" 2 "expected one of bash, zsh, fish, got tcsh" "$program" completion tcsh
if command -v zsh >zsh.path; then
  expect "zsh: syntax" 0 "" zsh -n _troupe
  # A terminal of its own, in which tab is pressed: zsh_offers EXPECTED LINE.
  zsh_offers() {
    timeout 120 zsh -f -c 'zmodload zsh/zpty; zpty z zsh -f -i
      zpty -w z "autoload -Uz compinit; compinit -u -D; source ./_troupe; LISTMAX=1000; print RE""ADY"
      zpty -r -m z out "*READY*"
      zpty -n -w z "$2"$'"'\t\t'"'
      zpty -r -m z out "*$1*" && zpty -d z' zsh "$1" "$2" >/dev/null 2>&1 || fail "zsh: $2: expected $1"
  }
  zsh_offers sliding "troupe eval ppl --mode "
  zsh_offers "Perplexity and bits" "troupe eval "
  zsh_offers "copa,lambada" "troupe eval tasks --tasks copa,lamb"
  zsh_offers "model.moe.num_experts=" "troupe train x.toml --set model.moe.num_e"
fi
if command -v fish >fish.path; then
  export HOME=$work
  fish_offers() {
    local expected=$1 got
    got=$(fish --no-config -c "source troupe.fish; complete -C '$2'" | cut -f1 | sort | tr '\n' ' ')
    [ "$got" = "$expected" ] || fail "fish: $2: expected \"$expected\", got \"$got\""
  }
  fish_offers "sliding " "troupe eval ppl --mode sl"
  fish_offers "ppl " "troupe eval pp"
  fish_offers "copa,piqa,lambada " "troupe eval tasks --tasks copa,piqa,lamb"
  fish_offers "stereoset,crows_pairs " "troupe eval bias --sets stereoset,"
  fish_offers "--sets=stereoset,crows_pairs " "troupe eval bias --sets=stereoset,"
  fish_offers "model.moe.num_experts= " "troupe train x.toml --set model.moe.num_e"
  fish_offers "--precision --prompt --prompts " "troupe generate --pr"
fi

SOURCE_DATE_EPOCH=0 "$program" man --out man || fail "man --out"
for page in troupe troupe-train troupe-eval-ppl troupe-completion; do
  [ -s "man/$page.1" ] || fail "no page $page"
done
grep -q '^.TH TROUPE-EVAL-PPL 1 1970-01-01 "troupe ' man/troupe-eval-ppl.1 || fail "the head of a page: $(head -1 man/troupe-eval-ppl.1)"
if command -v mandoc >mandoc.path; then
  for page in man/*.1; do
    mandoc -T lint -W warning "$page" >lint 2>&1 || fail "mandoc: $page: $(cat lint)"
  done
fi
if command -v man >man.path; then
  MANPAGER=cat MANWIDTH=100 man -l man/troupe-generate.1 | col -b | grep -q -- '--temperature' || fail "man -l"
fi
finish
