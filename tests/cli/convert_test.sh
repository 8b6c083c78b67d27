#!/bin/bash
# troupe convert and troupe inspect as users run them. Usage: convert_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
data=$2/golden/fairseq-small

expect "an MoE from its prefix" 0 '"format_from":"fairseq","format_to":"troupe","tensors":125,"params":697088' \
  "$program" convert "$data/moe/model" "$work/moe" --json
expect "an MoE from its folder" 0 "125 tensors, 697,088 parameters" "$program" convert "$data/moe" "$work/again"
cmp "$work/moe/model.safetensors" "$work/again/model.safetensors" || fail "prefix and folder differ"
expect "a dense model, tanh" 0 "params" "$program" convert "$data/dense/model.pt" "$work/dense" --gelu tanh --json
expect "its config" 0 '"gelu": "tanh"' cat "$work/dense/config.json"
expect "a dictionary of words" 0 "no tokenizer.json" \
  "$program" convert "$data/dense/model.pt" "$work/dictionary" --tokenizer "$data/data"
expect "its copy" 0 "" cmp "$data/data/dict.txt" "$work/dictionary/dict.txt"
expect "half precision with args" 0 '"params":13424' "$program" convert "$2/torch/dense-half-args.pt" "$work/half" --json
expect "a model of ours" 0 '"format_from":"troupe"' "$program" convert "$work/moe" "$work/copy" --json
cmp "$work/moe/model.safetensors" "$work/copy/model.safetensors" || fail "a copy differs"

llama=$2/golden/hf-small/llama
expect "from Hugging Face" 0 '"format_from":"hf","format_to":"troupe"' "$program" convert "$llama" "$work/llama" --json
expect "and back" 0 "21 tensors" "$program" convert "$work/llama" "$work/llama-hf" --to hf
expect "as bf16" 0 "21 tensors" "$program" convert "$llama" "$work/llama-bf16" --to hf --dtype bf16
expect "its family" 0 '"model_type": "llama"' cat "$work/llama-hf/config.json"
expect "inspecting it" 0 "Hugging Face model" "$program" inspect "$work/llama-hf"
expect "scoring it" 0 '"nll_sum":28' "$program" score --model "$work/llama-hf" --tokens "$llama/golden.safetensors" --out "$work/scores"
expect "a dense model of the study" 0 '"model_type": "xglm"' \
  sh -c "'$program' convert '$data/dense/model.pt' '$work/xglm' --to hf && cat '$work/xglm/config.json'"
expect "what a family cannot say" 2 "expected a model that the family xglm can say, got moe.num_experts: 8 in the model" \
  "$program" convert "$data/moe" "$work/x" --to hf --family xglm
expect "a mixture of the study" 0 "xglm_moe: a schema of Troupe's" "$program" convert "$data/moe" "$work/xglm-moe" --to hf
expect "... is read" 0 "hf to troupe" "$program" convert "$work/xglm-moe" "$work/of-xglm-moe"
expect "... as it was" 0 "" sh -c "'$program' convert '$data/moe' '$work/of-moe' && \
  cmp '$work/of-moe/model.safetensors' '$work/of-xglm-moe/model.safetensors'"
expect "... with its gates" 0 "" sh -c "sed '/\"family\"/d' '$work/of-xglm-moe/config.json' >'$work/its.json' && \
  sed '/\"family\"/d' '$work/of-moe/config.json' | diff - '$work/its.json'"
expect "another family" 2 "the family qwen3 can say, got qk_norm: \"none\" in the model, \"head\" in qwen3" \
  "$program" convert "$llama" "$work/x" --to hf --family qwen3
expect "no family" 2 "--family: expected auto or one of gpt2" "$program" convert "$llama" "$work/x" --to hf --family gpt9
expect "a family for ours" 2 "--family: expected it with --to hf alone" "$program" convert "$llama" "$work/x" --family llama

expect "a full destination" 2 "expected a new or empty folder" "$program" convert "$data/moe" "$work/moe"
expect "the same with --force" 0 "tensors" "$program" convert "$data/moe" "$work/moe" --force
expect "two checkpoints" 3 "name one of them" "$program" convert "$data/moe-parallel" "$work/x"
expect "no checkpoint" 3 "nothing of this name" "$program" convert "$work/none" "$work/x"
expect "no settings" 3 "expected the training settings" "$program" convert "$2/torch/malicious.pt" "$work/x"
mkdir "$work/broken"
cp "$data"/moe/*.pt "$work/broken"
head -c 300000 "$data/moe/model-rank-3.pt" >"$work/broken/model-rank-3.pt"
expect "a truncated rank" 3 "model-rank-3.pt: expected a zip directory" "$program" convert "$work/broken" "$work/x"
rm "$work/broken/model-rank-3.pt"
expect "a missing rank" 3 "expected 8 experts" "$program" convert "$work/broken" "$work/x"
if [ -e "$work/x" ] || compgen -G "$work/*.tmp-*" >/dev/null; then
  fail "a refused conversion left something:"
  ls "$work"
fi

expect "inspecting a model" 0 "697,088 parameters, 300,032 active per token" "$program" inspect "$work/moe"
expect "its experts in one row" 0 "16,384 x 8" "$program" inspect "$work/moe"
expect "every expert" 0 "layers.3.moe.experts.7.fc2.bias" "$program" inspect "$work/moe" --all
expect "statistics" 0 '"non_finite":0' "$program" inspect "$work/moe" --json --stats
expect "inspecting a checkpoint of fairseq" 0 "rank_files: 4" "$program" inspect "$data/moe"
expect "inspecting tensors" 0 "train.logits" "$program" inspect "$data/moe/forward.safetensors" --stats
# Dense models as experts, and back.
expect "upcycling" 0 "troupe to troupe" "$program" convert "$work/dense" "$work/up" --experts 8 --top-k 4 --granularity 2
expect "its settings" 0 '"top_k": 4' cat "$work/up/config.json"
expect "merging what is equal" 0 "Every expert counts the same" "$program" convert "$work/up" "$work/merged" --dense drop
expect "a model with experts" 2 "expected a dense model (--experts), got one with 8 experts" \
  "$program" convert "$work/moe" "$work/x" --experts 4
expect "a dense model" 2 "expected a model with experts (--dense), got a dense one" \
  "$program" convert "$work/dense" "$work/x" --dense merge
expect "cut copies" 2 "--top-k: expected a multiple of the granularity (4), so that copies stay whole, got 2" \
  "$program" convert "$work/dense" "$work/x" --experts 8 --granularity 4
expect "noise alone" 2 "--experts" "$program" convert "$work/dense" "$work/x" --noise 0.1
printf '{"step":1}\n' >"$work/metrics.jsonl"
expect "a line without a schema" 3 "metrics.jsonl:1: schema: expected a value, got no such key" \
  "$program" convert "$work/moe" "$work/x" --dense merge --use "$work/metrics.jsonl"
printf '{"schema":"of.another/1"}\n' >"$work/metrics.jsonl"
expect "no use" 3 "metrics.jsonl: expected a line with the load of experts (moe), got none" \
  "$program" convert "$work/moe" "$work/x" --dense merge --use "$work/metrics.jsonl"
hf="$2/golden/hf-small"
expect "to GGUF" 0 "hf to gguf: 21 tensors" "$program" convert "$hf/llama" "$work/l.gguf" --to gguf
expect "... and back" 0 "gguf to hf: 21 tensors" "$program" convert "$work/l.gguf" "$work/l" --to hf
expect "not as a model" 3 "l.gguf: expected a model's folder, got a file (troupe convert" \
  "$program" generate --model "$work/l.gguf" --prompt x
expect "no overwriting" 2 "l.gguf: expected a new file, got one that is there" "$program" convert "$hf/llama" "$work/l.gguf" --to gguf
expect "another name" 2 "destination: expected a file NAME.gguf" "$program" convert "$hf/llama" "$work/l2" --to gguf
expect "... for ids alone" 0 "tokenizer.ggml.model: none" "$program" inspect "$work/l.gguf"
cp -r "$hf/llama" "$work/pieces"
cp "$2/tokenizer/sentencepiece/unigram.model" "$work/pieces/tokenizer.model"
printf '\022\002\030\003' >>"$work/pieces/tokenizer.model" # a model of words
expect "a tokenizer that is not read" 0 "expected unigram or bpe, got word: no tokenizer.json, the model takes token ids only" \
  "$program" convert "$work/pieces" "$work/of-pieces"
expect "... in GGUF" 0 "expected unigram or bpe, got word: the file is for ids alone" \
  "$program" convert "$work/pieces" "$work/pieces.gguf" --to gguf
expect "... that was asked for" 3 "expected unigram or bpe, got word" \
  "$program" convert "$work/pieces" "$work/x.gguf" --to gguf --tokenizer "$work/pieces"
sed -i 's/"vocab_size": [0-9]*/"vocab_size": 500/' "$work/pieces/config.json"
python3 - "$work/pieces/model.safetensors" 500 <<'END'  # as many rows as the pieces need
import json, struct, sys
path, rows = sys.argv[1], int(sys.argv[2])
data = open(path, 'rb').read()
start = 8 + struct.unpack('<Q', data[:8])[0]
header, body = json.loads(data[8:start]), b''
for name, entry in header.items():
    if name != '__metadata__':
        begin, end = entry['data_offsets']
        values = data[start + begin:start + end]
        if name in ('model.embed_tokens.weight', 'lm_head.weight'):
            values = values.ljust(len(values) // entry['shape'][0] * rows, b'\0')
            entry['shape'][0] = rows
        entry['data_offsets'] = [len(body), len(body) + len(values)]
        body += values
text = json.dumps(header).encode()
open(path, 'wb').write(struct.pack('<Q', len(text)) + text + body)
END
cp "$2/tokenizer/sentencepiece/bpe.model" "$work/pieces/tokenizer.model"
expect "SentencePiece" 0 "19 tensors" "$program" convert "$work/pieces" "$work/with-pieces"
cp -r "$work/pieces" "$work/unigram"
cp "$2/tokenizer/sentencepiece/unigram.model" "$work/unigram/tokenizer.model"
expect "a unigram model" 0 "19 tensors" "$program" convert "$work/unigram" "$work/with-unigram"
expect "... and back" 0 "21 tensors" "$program" convert "$work/with-unigram" "$work/unigram-hf" --to hf
expect "... as it was" 0 "" cmp "$work/unigram-hf/tokenizer.model" "$work/unigram/tokenizer.model"
expect "... alone" 2 "" ls "$work/unigram-hf/tokenizer.json"
for model in pieces with-pieces with-unigram; do
  expect "... which GGUF cannot hold" 0 "$model: no byte-level BPE" \
    "$program" convert "$work/$model" "$work/$model.gguf" --to gguf --force
done
expect "... for ids alone, too" 0 "tokenizer.ggml.model: none" "$program" inspect "$work/with-pieces.gguf"
expect "what GGUF cannot say" 2 "--to gguf: expected a model" "$program" convert "$hf/rope_dynamic" "$work/l3.gguf" --to gguf
expect "a type of another format" 2 "--dtype: expected fp32 or bf16 with --to hf" \
  "$program" convert "$hf/llama" "$work/l4" --to hf --dtype q8_0
expect "inspecting GGUF" 0 "general.architecture: llama" "$program" inspect "$2/gguf/types.gguf"
expect "its values" 0 '"name":"q6_k","dtype":"Q6_K","shape":[3,512],"mean"' \
  "$program" inspect "$2/gguf/types.gguf" --json --stats
expect "the tokenizer in it" 0 '"ids":[1,' \
  sh -c "echo 'the rain' | '$program' tokenizer encode --tokenizer '$2/gguf/tokenizer-llama3.gguf'"
head -c 5000 "$2/gguf/types.gguf" >"$work/cut.gguf"
expect "a truncated one" 3 "cut.gguf: " "$program" inspect "$work/cut.gguf"
expect "inspecting PyTorch's file" 0 "pytorch_model.bin: PyTorch tensors" \
  "$program" inspect "$2/torch/qwen3/pytorch_model.bin"
expect "its values" 0 '"name":"model.norm.weight","dtype":"BF16","shape":[32],"mean":' \
  "$program" inspect "$2/torch/qwen3/pytorch_model.bin" --json --stats
head -c 5000 "$2/torch/qwen3/pytorch_model.bin" >"$work/cut.bin"
expect "a truncated one" 3 "cut.bin: " "$program" inspect "$work/cut.bin"
expect "inspecting something else" 3 "expected a folder, .safetensors, .gguf, .bin, .pt or .tok" "$program" inspect "$program"
truncate -s 1000 "$work/copy/model.safetensors"
expect "inspecting a broken model" 3 "model.safetensors: header length" "$program" inspect "$work/copy"

finish
