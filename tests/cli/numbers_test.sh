#!/bin/bash
# Numbers on the command line that cannot be: every flag of the commands below that --help says takes a number refuses
# them, naming itself, before anything is read.
# Usage: numbers_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

swept=0
help=$(mktemp)
# sweep COMMAND...: its flags as "  --batch INT:POSITIVE [4096]".
sweep() {
  local flag kind bad
  while read -r flag kind; do
    for bad in -1 nan inf 99999999999999999999999 1e400 12x $([[ $kind == *FLOAT* ]] || echo 0.5); do
      expect "$* $flag $bad" 2 "$flag: expected " "$program" "$@" "$flag=$bad"
    done
    swept=$((swept + 1))
  done < <("$program" "$@" --help | tee -a "$help" | sed -nE 's/^ +(--[a-z-]+) (U?INT|FLOAT|BYTES|N)[^A-Z].*/\1 \2/p')
}
sweep eval ppl
sweep eval tasks
sweep eval bias
sweep encode
sweep corpus stats
sweep generate
sweep tokenizer train
sweep cost
for name in adam attention gemm loss moe step tokenizer; do
  sweep bench $name
done
[ $swept -ge 45 ] || fail "only $swept flags found"
# A default that the flag itself would refuse, or an empty list, says nothing; descriptions begin alike.
grep -E -- '^ +--?[a-z].*(POSITIVE=0|=\[\]|=\{\})( |$)' "$help" && fail "a default outside its range"
grep -E -- '^ +-.*  +[A-Z][a-z]' "$help" && fail "a description with a capital"
rm -f "$help"

expect "a seed" 2 "--seed: expected a whole number from 0 to 9223372036854775807, got -1" "$program" eval tasks --seed -1
expect "a limit" 2 "--max-document-bytes: expected a whole number from 1 to 1099511627776, got -1" \
  "$program" encode --max-document-bytes -1
# CLI11 alone reads 010 as 8 and 1e2 not at all.
echo "cats sat" >text.txt
"$program" tokenizer train --vocab-size 260 --out tok text.txt >/dev/null 2>&1
expect "ten bytes" 0 "1 document," "$program" encode --tokenizer tok --out ten --max-document-bytes 010 text.txt
expect "as in configuration files" 0 "1 document," "$program" encode --tokenizer tok --out hundred --max-document-bytes 1e2 text.txt

finish
