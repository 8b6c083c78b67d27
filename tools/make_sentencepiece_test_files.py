#!/usr/bin/env python3
"""Writes tests/data/tokenizer/sentencepiece: models as SentencePiece makes them, and what it makes of texts with one.

Needs `pip install sentencepiece`. Usage: tools/make_sentencepiece_test_files.py TEXT [tests/data]
bpe.model: BPE with bytes for the rest and nothing normalised, as Llama 2 has it; bpe.jsonl: texts and their ids.
unigram.model: what is refused.
"""
import io
import json
import os
import sys

import sentencepiece

text = sys.argv[1]
out = os.path.join(sys.argv[2] if len(sys.argv) > 2 else "tests/data", "tokenizer", "sentencepiece")
os.makedirs(out, exist_ok=True)
LLAMA = dict(model_type="bpe", vocab_size=500, byte_fallback=True, normalization_rule_name="identity",
             remove_extra_whitespaces=False, character_coverage=0.998, split_digits=True, minloglevel=2)


def train(name, texts, **other):
    model = io.BytesIO()  # no paths in the file
    sentencepiece.SentencePieceTrainer.train(**dict(LLAMA, sentence_iterator=iter(texts), model_writer=model, **other))
    with open(os.path.join(out, name + ".model"), "wb") as file:
        file.write(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def main():
    with open(text, encoding="utf-8") as file:
        texts = [line.rstrip("\n") for line in file]
    processor = train("bpe", texts)
    train("unigram", texts, model_type="unigram")
    texts = texts[:40]
    texts += ["", " ", "  two  spaces ", "\n", "a\nb\n\nc", "\ttab", "Ünïcödé, naïve café", "日本語 テスト", "🙂 x 🙂🙂", "x\u2581y",
              "12345 1,234.5", "aaaaaaaaaaaa", "the the the", "e\u0301 \u00e9", "ﬁne ½", "https://a.b/c?d=e&f", "\u00a0x\u3000y",
              "The quick brown fox", "</s", "<0x0A>", "\u0000\u0001\u007f"]
    with open(os.path.join(out, "bpe.jsonl"), "w", encoding="utf-8") as file:
        for line in texts:
            file.write(json.dumps({"text": line, "ids": processor.encode(line)}) + "\n")


main()
