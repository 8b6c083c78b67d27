#!/bin/bash
# Prompts, samples, stop texts and filters of `generate`, with a tiny trained model. Usage: generate_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

for i in $(seq 60); do printf 'The old cat sees the red dog. A café is near, said %s.\n\n' "$i"; done >text.txt
expect "a tokenizer" 0 "" "$program" tokenizer train --vocab-size 280 --out tok text.txt
expect "shards" 0 "" "$program" encode --tokenizer tok --out data/text text.txt
cat >run.toml <<'TOML'
[model]
num_layers = 1
d_model = 32
num_heads = 2
d_ff = 64
vocab_size = 280
context = 64
[train]
steps = 30
batch_sequences = 4
[train.schedule]
lr = 1e-2
[data]
train = ["data/text"]
TOML
expect "training" 0 "" "$program" train run.toml --run run
tokens=24
generate() { "$program" generate --model run --max-tokens $tokens "$@" 2>log; }
texts() { sed -E 's/.*"text":("([^"\\]|\\.)*").*/\1/' "$1"; }

# Prompts of a file: in order, each as it is on its own.
printf '%s\n' '{"prompt": "The old", "id": 7}' '{"prompt": "A caf\u00e9"}' '{"prompt": ""}' >prompts.jsonl
printf 'The old\nA café\n\n' >prompts.txt
generate --prompts prompts.jsonl --seed 3 >json || fail "prompts.jsonl: $(cat log)"
generate --prompts prompts.txt --seed 3 >plain || fail "prompts.txt: $(cat log)"
[ "$(grep -o '"prompt_index":[0-9]*' json | tr '\n' ' ')" = '"prompt_index":0 "prompt_index":1 "prompt_index":2 ' ] ||
  { fail "the order of prompts"; cat json; }
[ "$(texts json)" = "$(texts plain)" ] || { fail "other texts from .txt"; cat json plain; }
for prompt in "The old" "A café" ""; do generate --prompt "$prompt" --seed 3 --json; done >single
[ "$(texts json)" = "$(texts single)" ] || { fail "a prompt of a file and alone"; cat json single; }

# Samples: different, the same however many there are, and each again from the seed that its line names.
generate --prompt "The old" --samples 4 --seed 5 --json >four
generate --prompt "The old" --samples 2 --seed 5 --json >two
generate --prompt "The old" --seed 5 --json >one
[ "$(texts four | head -2)" = "$(texts two)" ] && [ "$(texts four | head -1)" = "$(texts one)" ] ||
  { fail "samples depend on their number"; cat four two one; }
[ "$(texts four | sort -u | wc -l)" -eq 4 ] || { fail "samples are alike"; cat four; }
seed=$(sed -n 4p four | grep -o '"seed":[0-9]*' | cut -d: -f2)
generate --prompt "The old" --seed "$seed" --json >again
[ "$(texts again)" = "$(sed -n 4p four >last && texts last)" ] || { fail "a sample from its seed"; cat again last; }
expect "greedy samples" 0 "all samples are the same" \
  "$program" generate --model run --prompt x --samples 2 --temperature 0 --max-tokens 2

# Stop texts: cut before the first one, as JSON and as a stream; a length otherwise.
tokens=60
generate --prompt "The old" --ignore-eos --temperature 0 --json >whole
grep -q '"finish_reason":"length"' whole || { fail "length"; cat whole; }
text=$(texts whole)
stop=${text:8:5}
generate --prompt "The old" --ignore-eos --temperature 0 --json --stop "never there" --stop "$stop" >cut
grep -q '"finish_reason":"stop"' cut || { fail "stop"; cat cut; }
before=${text%%"$stop"*}
[ "$(texts cut)" = "$before\"" ] || { fail "expected $before before $stop"; cat cut; }
generate --prompt "The old" --ignore-eos --temperature 0 --stop "$stop" >stream
[ "$(cat stream)" = "The old${before#\"}" ] || { fail "the stream before a stop text"; cat stream; }
expect "no stop text" 2 "--stop: expected a text, got an empty one" "$program" generate --model run --stop ""
expect "a stop text that cuts characters" 2 "--stop: expected UTF-8" "$program" generate --model run --stop $'\xa9'

# Filters: a min-p of 1 leaves the most probable token; a penalty changes what is drawn, of greedy texts too.
generate --prompt "The old" --ignore-eos --min-p 1 --json >min_p
[ "$(texts min_p)" = "$text" ] || { fail "--min-p 1 is not greedy"; cat min_p whole; }
generate --prompt "The old" --ignore-eos --temperature 0 --repetition-penalty 50 --json >penalty
[ "$(texts penalty)" != "$text" ] || { fail "--repetition-penalty does nothing"; cat penalty; }

# Damage is named before anything is generated.
printf '%s\n' '{"prompt": "fine"}' '{"text": "x"}' >bad.jsonl
expect "no prompt" 3 "bad.jsonl:2: prompt: expected this field" "$program" generate --model run --prompts bad.jsonl
grep -q '^{' out && fail "lines before damage"
printf 'fine\n\xff\n' >bad.txt
expect "no text" 3 "bad.txt:2: expected UTF-8, got byte 0xFF" "$program" generate --model run --prompts bad.txt
: >empty.txt
expect "no prompts" 3 "empty.txt: expected at least one prompt" "$program" generate --model run --prompts empty.txt
expect "no file" 3 "nowhere.txt: expected a readable file" "$program" generate --model run --prompts nowhere.txt
expect "another kind" 2 "expected a file of prompts named" "$program" generate --model run --prompts run.toml
expect "two sources" 2 "--prompt" "$program" generate --model run --prompts prompts.txt --prompt x
finish
