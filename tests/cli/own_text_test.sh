#!/bin/bash
# troupe corpus build --domain: a user's own text as a corpus, what is dropped and why, and what is refused.
# Usage: own_text_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

# text FIRST LAST: that many documents, alike in nothing but a few words.
text() { for i in $(seq "$1" "$2"); do echo "Item $i has $((i * 7919)) parts and $((i * i)) holes, $((i * 31 + 5)) of them round."; echo; done; }
mkdir prose
text 1 200 >prose/a.txt
text 1001 1100 | sed -n 's/\(..*\)/{"body": "\1"}/p' | gzip >code.jsonl.gz
text 2001 2020 >far.txt
text 1 3 >>far.txt        # also in prose
text 2001 2001 >>far.txt  # twice
build() { "$program" corpus build "$@"; }

expect "a corpus" 0 "prose" build --out c --domain prose=prose --valid-share 0.1 --held-out far=far.txt
expect "leakage is said" 0 "far: left out 4 of 24 held-out documents: 4 are in the corpus already, 0 overlap training" \
  build --out c --force --domain prose=prose --valid-share 0.1 --held-out far=far.txt
expect "... counted" 0 '"exact_duplicates": {' cat c/manifest.json
[ "$(ls c)" = "$(printf 'heldout\nmanifest.json\ntrain\nvalid')" ] || fail "files: $(ls c)"
[ "$(wc -l <c/heldout/far.jsonl)" -eq 20 ] || fail "held out: $(cat c/heldout/far.jsonl)"
[ "$(cat c/train/prose.jsonl c/valid/prose.jsonl | wc -l)" -eq 200 ] || fail "documents: $(wc -l c/*/*)"
expect "where it was" 0 '{"text":"Item 5 has 39595 parts and 25 holes, 160 of them round.","source":"prose/a.txt:9"}' \
  cat c/train/prose.jsonl c/valid/prose.jsonl
expect "the same bytes again" 0 "" build --out again --domain prose=prose --valid-share 0.1 --held-out far=far.txt
diff -r c again || fail "two builds differ"

# More text moves nothing.
text 501 700 >prose/0.txt
expect "more text, another domain" 0 "" \
  build --out more --domain code=code.jsonl.gz --domain prose=prose --field body --valid-share 0.1 --held-out far=far.txt --json
for split in train valid; do
  [ -z "$(comm -23 <(sort c/$split/prose.jsonl) <(sort more/$split/prose.jsonl))" ] || fail "$split documents moved"
done
[ "$(cat more/*/code.jsonl | wc -l)" -eq 100 ] || fail "code: $(wc -l more/*/*)"

# Validation text that training repeats goes and is counted; it never moves to training.
run=$(seq -s ' ' 30000 30060)
sed -n 's/.*"text":"\([^"]*\)".*/\1/p' c/valid/prose.jsonl | head -1 >chosen
mkdir leaky
cp prose/a.txt leaky
{ cat chosen; for w in $run; do echo "and also $(cat chosen) beside the number $w and its friend $((w * 3))"; done; } | sed 's/$/\n/' >leaky/b.txt
expect "validation in training" 0 "overlap training" build --out leak --domain leaky=leaky --valid-share 0.1
grep -qF "$(cat chosen)\",\"source\":\"leaky/a.txt" leak/train/leaky.jsonl && fail "a validation document moved to training"

# The corpus is what the other commands take.
expect "tokenizer" 0 "" "$program" tokenizer train --vocab-size 300 --out tok c/train
expect "encode" 0 "20 documents" "$program" encode --tokenizer tok --out far c/heldout/far.jsonl

# What is refused, with nothing left behind.
before=$(ls -A)
: >empty.txt
sleep 20 | "$program" corpus build --out deep/a/c --domain p=- >out 2>&1 &
pid=$!
for _ in $(seq 200); do [ -d deep/a ] && break || sleep 0.1; done
[ -d deep/a ] || fail "no folder was made on the way"
kill -TERM $pid
wait $pid
[ $? = 130 ] && [ ! -e deep ] || fail "an interrupted build: $(cat out; find deep)"
expect "no documents" 3 "--domain: none: expected documents in empty.txt, got none" build --out x --domain none=empty.txt
expect "a name twice" 2 "--domain: expected each name once, got a twice" build --out x --domain a=far.txt --domain a=prose
expect "... on both sides" 2 "--held-out: expected each name once, got a twice" build --out x --domain a=prose --held-out a=far.txt
expect "a name that is no folder" 2 "--domain: expected a name that a folder can have" build --out x --domain ..=prose
expect "no name" 2 '--domain: expected NAME=PATH, got "prose"' build --out x --domain prose
expect "no path" 2 "--domain: expected NAME=PATH" build --out x --domain prose=
expect "a path that is not there" 3 "nowhere: expected a file or a folder" build --out x --domain a=nowhere
expect "no validation" 2 "--valid-share: p: expected a share that leaves a validation document, got 1e-06" \
  build --out x --domain p=prose --valid-share 1e-6
share=$(sed -n 's/.*(\(.*\) chooses one).*/\1/p' out)
expect "... the share it names" 0 "" build --out y --domain p=prose --valid-share "$share"
[ "$(wc -l <y/valid/p.jsonl)" -eq 1 ] || fail "share $share: $(wc -l y/*/*)"
rm -r y
expect "a share of nothing" 2 "--valid-share" build --out x --domain p=prose --valid-share 0
expect "a share of all" 2 "--valid-share" build --out x --domain p=prose --valid-share 1
expect "all held-out text is in a domain" 3 "--held-out: copy: expected held-out documents, got none: of 400 400 are duplicates" \
  build --out x --domain p=prose --held-out copy=prose
expect "a domain is another's copy" 3 "--domain: copy: expected training documents, got none" \
  build --out x --domain p=prose --domain copy=prose --valid-share 0.1
printf 'x' >notes.odt
expect "a file of another kind, before work" 2 "notes.odt: expected" build --out x --domain p=prose --domain notes=notes.odt
grep -q "corpus: p:" out && fail "text was read before a file of another kind was refused: $(cat out)"
rm notes.odt
expect "damage" 3 "code.jsonl.gz:1: text: expected" build --out x --domain a=code.jsonl.gz
expect "... skipped" 3 "got none (1 file, 100 skipped)" build --out x --domain a=code.jsonl.gz --on-bad skip
expect "a corpus is there" 2 "--out: expected a new folder, got c, which holds a corpus (--force replaces it)" build --out c --domain p=prose
expect "a folder is there" 2 "prose, which is no corpus" build --out prose --domain p=far.txt --force
expect "a corpus in its text" 2 "--out: expected a folder outside of the text" build --out prose/x --domain p=prose
expect "standard input twice" 2 "expected one domain from standard input" build --out x --domain a=- --domain b=-
expect "packages over own text" 2 "--out: expected a new folder or a corpus of packages, got c of your own text" build quickstart --out c --packages-dir .
expect "no folder" 2 "--out: expected a folder for the corpus" build --domain p=prose
expect "neither" 2 "expected NAME (\`troupe corpus list\`) or --domain NAME=PATH" build --out x
expect "both" 2 "excludes" build quickstart --domain p=prose --out x
expect "flags of text without text" 2 "requires" build quickstart --split file --out x
expect "held-out text alone" 2 "requires" build --held-out p=prose --out x
[ "$(ls -A | grep -vx -e empty.txt -e out)" = "$(echo "$before" | grep -vx out)" ] || fail "left behind: $(ls -A)"

# Ten thousand paragraphs of one file are seldom as many documents.
text 1 10000 >long.txt
expect "one paragraph each" 0 "long.txt: 10000 documents, as each blank line ends one (--split file makes a file one document)" \
  "$program" corpus stats long.txt
"$program" corpus stats --split file long.txt 2>&1 | grep -q "blank line" && fail "a warning of --split file"

finish
