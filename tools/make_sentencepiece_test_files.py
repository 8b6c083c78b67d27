#!/usr/bin/env python3
"""Writes tests/data/tokenizer/sentencepiece: models as SentencePiece makes them, and what it makes of texts with one.

Needs `pip install sentencepiece tokenizers`. Usage: tools/make_sentencepiece_test_files.py TEXT [tests/data]
bpe.model: BPE with bytes for the rest and nothing normalised, as Llama 2 has it; bpe.jsonl: texts and their ids.
unigram.model, unigram.jsonl: a unigram model likewise.
rules.model, rules.jsonl: a unigram model with a normalisation of its own and without bytes for the rest.
unigram.json, unigram.json.jsonl: its pieces and normalisation as a tokenizer.json, as XGLM publishes it, and what Hugging
Face tokenizers makes of the texts.
"""
import base64
import contextlib
import io
import json
import os
import sys
import tempfile

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2

LLAMA = dict(model_type="bpe", vocab_size=500, byte_fallback=True, normalization_rule_name="identity",
             remove_extra_whitespaces=False, character_coverage=0.998, split_digits=True, minloglevel=2)


def train(out, name, texts, **other):
    model = io.BytesIO()  # no paths in the file
    sentencepiece.SentencePieceTrainer.train(**dict(LLAMA, sentence_iterator=iter(texts), model_writer=model, **other))
    with open(os.path.join(out, name + ".model"), "wb") as file:
        file.write(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


# What becomes what: one character or several, a shorter key within a longer one, a space, nothing.
RULES = {'\u00a0': ' ', '\u3000': ' ', '\t': ' ', '\n': ' ', '\ufb01': 'fi', '\u00bd': '1/2', 'e\u0301': '\u00e9', '\u00ad': '',
         'A': 'a', 'AB': 'x y', '\uff76': '\u30ab', '\uff76\uff9e': '\u30ac', '\u2026': '...', '\uff0e': ' . '}


def as_tokenizer_json(model, byte_fallback=False):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    charsmap = proto.normalizer_spec.precompiled_charsmap
    pieces = [('<s>', 0.0), ('<pad>', 0.0), ('</s>', 0.0), ('<unk>', 0.0)]
    pieces += [(piece.piece, piece.score) for piece in proto.pieces[3:]] + [('<madeupword0>', 0.0)]
    made = {'version': '1.0', 'truncation': None, 'padding': None,
            'added_tokens': [{'id': i, 'content': text, 'single_word': False, 'lstrip': False, 'rstrip': False,
                              'normalized': False, 'special': True} for i, (text, _) in enumerate(pieces[:4])],
            'normalizer': {'type': 'Sequence', 'normalizers': ([
                {'type': 'Precompiled', 'precompiled_charsmap': base64.b64encode(charsmap).decode()}] if charsmap else []) + [
                {'type': 'Strip', 'strip_left': False, 'strip_right': True},
                {'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '}]},
            'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [
                {'type': 'WhitespaceSplit'}, {'type': 'Metaspace', 'replacement': '\u2581', 'prepend_scheme': 'always', 'split': True}]},
            'post_processor': {'type': 'TemplateProcessing', 'single': [
                {'SpecialToken': {'id': '</s>', 'type_id': 0}}, {'Sequence': {'id': 'A', 'type_id': 0}}], 'pair': [],
                'special_tokens': {'</s>': {'id': '</s>', 'ids': [2], 'tokens': ['</s>']}}},
            'decoder': {'type': 'Metaspace', 'replacement': '\u2581', 'prepend_scheme': 'always', 'split': True},
            'model': {'type': 'Unigram', 'unk_id': 3, 'vocab': pieces, 'byte_fallback': byte_fallback}}
    return json.dumps(made, ensure_ascii=False)


def write_ids(out, name, texts, encode):
    with open(os.path.join(out, name), 'w', encoding='utf-8') as file:
        for line in texts:
            file.write(json.dumps({'text': line, 'ids': encode(line)}) + '\n')


def main():
    out = os.path.abspath(os.path.join(sys.argv[2] if len(sys.argv) > 2 else "tests/data", "tokenizer", "sentencepiece"))
    os.makedirs(out, exist_ok=True)
    with open(sys.argv[1], encoding="utf-8") as file:
        texts = [line.rstrip("\n") for line in file]
    processor = train(out, "bpe", texts)
    unigram = train(out, "unigram", texts, model_type="unigram")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the model keeps the name
        with open('rules.tsv', 'w', encoding='utf-8') as rules:
            for key, value in RULES.items():
                rules.write('\t'.join(' '.join(f'{ord(c):x}' for c in side) for side in (key, value)) + '\n')
        ruled = train(out, "rules", texts, model_type="unigram", normalization_rule_tsv='rules.tsv', byte_fallback=False,
                      remove_extra_whitespaces=True, vocab_size=400)
    texts = texts[:40]
    texts += ["", " ", "  two  spaces ", "\n", "a\nb\n\nc", "\ttab", "Ünïcödé, naïve café", "日本語 テスト", "🙂 x 🙂🙂", "x\u2581y",
              "12345 1,234.5", "aaaaaaaaaaaa", "the the the", "e\u0301 \u00e9", "ﬁne ½", "https://a.b/c?d=e&f", "\u00a0x\u3000y",
              "The quick brown fox", "</s", "<0x0A>", "\u0000\u0001\u007f"]
    write_ids(out, 'bpe.jsonl', texts, processor.encode)
    texts += ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa the the the', ' AB ABA A\u00adB', '\uff76\uff9e\uff76\uff0e\uff0e', '\u3000 x \u00a0 y \n',
              'x \u2581 y', '\u2026 \u00bd\ufb01', 'zq\u00ff\u0100\u0101 zq', 'e\u0301\u0301 a\u0301', '\U0001f468\u200d\U0001f469']
    write_ids(out, 'unigram.jsonl', texts, unigram.encode)
    write_ids(out, 'rules.jsonl', texts, ruled.encode)
    with open(os.path.join(out, 'rules.model'), 'rb') as model, open(os.path.join(out, 'unigram.json'), 'w', encoding='utf-8') as made:
        text = as_tokenizer_json(model.read())
        made.write(text)
    hf = tokenizers.Tokenizer.from_str(text)
    write_ids(out, 'unigram.json.jsonl', texts, lambda line: hf.encode(line, add_special_tokens=False).ids)


if __name__ == '__main__':
    main()
