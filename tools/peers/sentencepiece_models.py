#!/usr/bin/env python3
"""Trains SentencePiece models of several kinds and compares the ids of SentencePiece's own library with Troupe's, on
lines of the text and on random strings of characters that normalisation, spaces and unknown characters concern; and those
of Hugging Face tokenizers with the same pieces as a tokenizer.json.

    sentencepiece_models.py TROUPE TEXT [--random N] [--seed S] [--model FILE]    (needs sentencepiece, tokenizers)

Exit code 1 if an id differs. --model compares with a tokenizer.model that there is.
"""
import argparse
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import sentencepiece
import tokenizers

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from make_sentencepiece_test_files import as_tokenizer_json  # noqa: E402

KINDS = {
    'unigram': {},
    'unigram_bytes': dict(byte_fallback=True),
    'unigram_identity': dict(normalization_rule_name='identity', remove_extra_whitespaces=False, byte_fallback=True),
    'unigram_nfkc_cf': dict(normalization_rule_name='nfkc_cf', add_dummy_prefix=False),
    'unigram_spaces_inside': dict(split_by_whitespace=False, normalization_rule_name='nfkc'),
    'bpe_nmt_nfkc_bytes': dict(model_type='bpe', byte_fallback=True),
    'bpe_identity_bytes': dict(model_type='bpe', byte_fallback=True, normalization_rule_name='identity',
                               remove_extra_whitespaces=False),
}
PIECES = [' ', '  ', '\t', '\n', '\r\n', '\u00a0', '\u3000', '\u200b', '\u2581', '\u00ad', 'e\u0301', '\u0301', 'é', 'ﬁ', '½',
          'Ａ', 'ｶﾞ', '㍿', '①', 'ﾞ', '한', '\u1112\u1161\u11ab', '日本', '🙂', '👩\u200d👩', 'ß', 'İ', 'ı', 'ﷺ', '\u0000', '\u0001',
          '\ufeff', '\ufffd', '</s>', '<unk>', '<0x41>', 'a', 'aa', 'aaaa', 'the', 'ing', 'x', 'Q', '12', '.', ',', '"', "'s"]


def texts_of(lines, count, seed):
    rng = random.Random(seed)
    texts = list(lines) + ['', ' ', '   ', '\n']
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 30)):
            kind = rng.random()
            if kind < 0.5:
                parts.append(rng.choice(PIECES))
            elif kind < 0.8 and lines:
                line = rng.choice(lines)
                at = rng.randrange(len(line) + 1)
                parts.append(line[at:at + rng.randint(1, 12)])
            else:
                code = rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x250, 0x3100), rng.randrange(0xF900, 0x10000),
                                   rng.randrange(0x10000, 0x20000)])
                parts.append(chr(code) if not 0xD800 <= code < 0xE000 else '')
        texts.append(''.join(parts))
    return texts


def compare(name, program, model, encode, texts, *flags):
    lines = ''.join(json.dumps({'text': text}) + '\n' for text in texts)
    out = subprocess.run([program, 'tokenizer', 'encode', '--tokenizer', model, '--jsonl', '--bare', '-q', *flags],
                         input=lines, capture_output=True, text=True, check=True).stdout
    got = [json.loads(line)['ids'] for line in out.splitlines()]
    different = [text for text, ids in zip(texts, got, strict=True) if ids != encode(text)]
    print(f'{name}: {len(different)} of {len(texts)} texts differ', *map(repr, different[:3]))
    return not different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('text')
    parser.add_argument('--random', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--model')
    args = parser.parse_args()
    lines = [line for line in pathlib.Path(args.text).read_text(encoding='utf-8').split('\n') if line.strip()]
    texts = texts_of(lines[:2000], args.random, args.seed)
    if args.model:
        return compare(args.model, args.program, args.model, sentencepiece.SentencePieceProcessor(model_file=args.model).encode, texts,
                       '--added-as-text')
    equal = True
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in KINDS.items():
            made = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(**{
                'sentence_iterator': iter(lines), 'model_writer': made, 'vocab_size': 800, 'model_type': 'unigram',
                'character_coverage': 0.998, 'hard_vocab_limit': False, 'minloglevel': 2, 'num_threads': 1, **settings})
            path = pathlib.Path(folder) / 'tokenizer.model'
            path.write_bytes(made.getvalue())
            processor = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
            equal &= compare(name, args.program, str(path), processor.encode, texts, '--added-as-text')
            if settings.get('model_type') == 'bpe':
                continue
            text = as_tokenizer_json(made.getvalue(), settings.get('byte_fallback', False))
            (json_path := pathlib.Path(folder) / 'tokenizer.json').write_text(text, encoding='utf-8')
            hf = tokenizers.Tokenizer.from_str(text)
            equal &= compare(name + ', tokenizer.json', args.program, str(json_path),
                             lambda text, hf=hf: hf.encode(text, add_special_tokens=False).ids, texts)
    return equal


sys.exit(0 if main() else 1)
