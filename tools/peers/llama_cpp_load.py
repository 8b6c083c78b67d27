#!/usr/bin/env python3
"""Whether llama.cpp loads what `troupe convert --to gguf` writes, with equal logits and equal greedy text.

    llama_cpp_load.py TROUPE GOLDEN [WORK]                  every folder of GOLDEN (tests/data/golden/hf-small)
    llama_cpp_load.py TROUPE --model DIR --text FILE.jsonl  a model with its tokenizer: ids and log-probabilities

    pip install llama-cpp-py-sync==0.11548 xllamacpp==2026.10.11549 numpy safetensors

The first has upstream's C interface for Python, the second upstream's library of the same week, built for any glibc.

Folders are written in float32; logits are compared with those that transformers gave for the folder's text, and the 16
tokens after its prompt. What no architecture of GGUF can say must be refused, which is said. Keys and values are kept in
float32. Exit code 1 if anything differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import xllamacpp
from llama_cpp_py_sync._cffi_bindings import get_ffi
from safetensors.numpy import load_file, save_file

# Of logits. llama.cpp looks gelu up in a table of float16.
TOLERANCE, OF_GELU, HAVE_GELU = 2e-5, 6e-3, ('gpt2', 'phi')
ffi = get_ffi()
lib = ffi.dlopen(str(next(pathlib.Path(xllamacpp.__file__).parent.glob('xllamacpp*.so'))))
quiet = ffi.callback('void(int, const char *, void *)', lambda level, text, data: None)


class Model:
    def __init__(self, path):
        lib.llama_log_set(ffi.cast('ggml_log_callback', quiet), ffi.NULL)
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        self.model = lib.llama_model_load_from_file(str(path).encode(), params)
        if self.model == ffi.NULL:
            raise ValueError(f'{path}: llama.cpp does not load it')
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.size = lib.llama_vocab_n_tokens(self.vocab)
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(lib.llama_model_n_ctx_train(self.model), 256)
        params.type_k = params.type_v = 0  # float32
        params.flash_attn_type = 0
        params.no_perf = True
        params.n_threads = params.n_threads_batch = 1  # more of them spin
        self.context = lib.llama_init_from_model(self.model, params)
        if self.context == ffi.NULL:
            raise ValueError(f'{path}: llama.cpp makes no context')

    def close(self):
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)

    def forget(self):
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)
        self.past = 0

    def logits(self, ids):
        """Of every one of these tokens, which follow those before."""
        batch = lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(token), self.past + i, 1, 0
            batch.logits[i] = 1
        status = lib.llama_decode(self.context, batch)
        lib.llama_batch_free(batch)
        if status:
            raise ValueError(f'llama_decode: {status}')
        self.past += len(ids)
        values = ffi.buffer(lib.llama_get_logits(self.context), 4 * len(ids) * self.size)
        return np.frombuffer(values, np.float32).reshape(len(ids), self.size).copy()

    def tokenize(self, text):
        data = text.encode()
        room = ffi.new('llama_token[]', len(data) + 8)
        count = lib.llama_tokenize(self.vocab, data, len(data), room, len(data) + 8, False, False)
        return [room[i] for i in range(count)]


def said_by(done):
    return done.stderr.strip().splitlines()[-1]


def faults_of(program, folder, work):
    path = work / (folder.name + '.gguf')
    done = subprocess.run([program, 'convert', str(folder), str(path), '--to', 'gguf'], capture_output=True, text=True)
    if done.returncode:
        print(f'{folder.name}: refused: {said_by(done)}')
        return [] if done.returncode == 2 else [said_by(done)]
    golden = load_file(folder / 'golden.safetensors')
    try:
        model, difference, faults = Model(path), 0.0, []
    except ValueError as error:
        print(f'{folder.name}: {error}')
        return [str(error)]
    for ids, expected in zip(golden['src'], golden['logits']):
        model.forget()
        difference = max(difference, np.abs(model.logits(ids) - expected).max())
    if not difference <= (OF_GELU if folder.name.startswith(HAVE_GELU) else TOLERANCE):
        faults.append(f'logits: {difference:.1e} apart')
    text = []
    if 'greedy' in golden:
        model.forget()
        last = model.logits(golden['greedy_prompt'][0])[-1]
        for _ in golden['greedy'][0]:
            text.append(int(last.argmax()))
            last = model.logits(text[-1:])[-1]
        if text != golden['greedy'][0].tolist():
            faults.append(f'greedy text: {text}, expected {golden["greedy"][0].tolist()}')
    model.close()
    print(f'{folder.name}: logits {difference:.1e} apart, {len(text)} tokens of greedy text', *faults)
    return faults


def compare_golden(program, golden, work):
    folders = sorted(path.parent for path in pathlib.Path(golden).glob('*/golden.safetensors'))
    wrong = [folder.name for folder in folders if faults_of(program, folder, work)]
    print(f'{len(folders) - len(wrong)} of {len(folders)} as expected')
    return bool(wrong) or not folders


def compare_texts(program, directory, text, work, limit, dtype):
    path = work / 'model.gguf'
    subprocess.run([program, 'convert', directory, str(path), '--to', 'gguf', '--dtype', dtype], check=True)
    with open(text, encoding='utf-8') as file:
        texts = [json.loads(line)['text'] for _, line in zip(range(limit), file)]
    encode = subprocess.run([program, 'tokenizer', 'encode', '--tokenizer', directory, '--jsonl', '--bare',
                             '--added-as-text'], input=''.join(json.dumps({'text': t}) + '\n' for t in texts),
                            capture_output=True, text=True, check=True)
    ours = [json.loads(line)['ids'] for line in encode.stdout.splitlines()]
    model, others, tokens, total, largest = Model(path), 0, 0, [0.0, 0.0], 0.0
    for i, (ids, t) in enumerate(zip(ours, texts)):
        if model.tokenize(t) != ids:
            others += 1
            print(f'text {i}: other ids')
        ids = ids[:256]
        save_file({'src': np.array([ids[:-1]], np.int64), 'tgt': np.array([ids[1:]], np.int64)}, work / 'in.safetensors')
        subprocess.run([program, 'score', '--model', directory, '--tokens', str(work / 'in.safetensors'), '--out',
                        str(work / 'out.safetensors'), '--precision', 'fp32'], capture_output=True, check=True)
        here = load_file(work / 'out.safetensors')['logprobs'][0].astype(np.float64)
        model.forget()
        logits = model.logits(ids[:-1]).astype(np.float64)
        top = logits.max(axis=1, keepdims=True)
        there = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        there = there[np.arange(len(ids) - 1), ids[1:]]
        tokens += len(ids) - 1
        total[0] += here.sum()
        total[1] += there.sum()
        largest = max(largest, np.abs(here - there).max())
    print(f'{len(texts)} texts, {others} with other ids; {tokens} tokens: {-total[0] / tokens:.6f} nats per token here, '
          f'{-total[1] / tokens:.6f} there; a log P differs by {largest:.1e} at most')
    return bool(others) or not abs(total[0] - total[1]) <= 1e-3 * tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('troupe')
    parser.add_argument('golden', nargs='?')
    parser.add_argument('work', nargs='?')
    parser.add_argument('--model')
    parser.add_argument('--text')
    parser.add_argument('--limit', type=int, default=20)
    parser.add_argument('--dtype', default='fp32')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(arguments.work or temporary)
        work.mkdir(exist_ok=True)
        if arguments.model:
            sys.exit(compare_texts(arguments.troupe, arguments.model, arguments.text, work, arguments.limit, arguments.dtype))
        sys.exit(compare_golden(arguments.troupe, arguments.golden, work))


main()
