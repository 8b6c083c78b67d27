#!/usr/bin/env python3
"""Encodes and trains on the same text with Troupe, Hugging Face tokenizers and tiktoken, one thread each, in turns,
and prints bytes per second of processor time. Needs `pip install tokenizers tiktoken`.

    tools/peers/tokenizer_speed.py --troupe build/release/src/cli/troupe --gpt2 tests/data/gpt2-bpe TEXT...

TEXT: UTF-8 files. They are cut at line ends into documents of about 16 KB. All three encode them to the same ids, which
is checked. GPT-2's encoder.json and vocab.bpe lie in --gpt2.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tiktoken  # noqa: E402
import tokenizers  # noqa: E402
from tiktoken.load import data_gym_to_mergeable_bpe_ranks  # noqa: E402
from documents import documents  # noqa: E402
from tokenizers import models, pre_tokenizers, trainers  # noqa: E402

TIKTOKEN_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


def timed(action):
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--troupe", required=True, help="the program")
    parser.add_argument("--gpt2", required=True, help="folder with encoder.json and vocab.bpe")
    parser.add_argument("--vocab-size", type=int, default=4096, help="of the vocabulary to train")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    args = parser.parse_args()

    texts = documents(args.texts)
    size = sum(len(text.encode()) for text in texts)
    gpt2 = pathlib.Path(args.gpt2)
    hf = tokenizers.Tokenizer(models.BPE.from_file(str(gpt2 / "encoder.json"), str(gpt2 / "vocab.bpe")))
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ranks = data_gym_to_mergeable_bpe_ranks(str(gpt2 / "vocab.bpe"), str(gpt2 / "encoder.json"))
    tik = tiktoken.Encoding("gpt2", pat_str=TIKTOKEN_PATTERN, mergeable_ranks=ranks, special_tokens={})

    def train_hf():
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
            vocab_size=args.vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))

    rates = {}

    def record(who, what, rate):
        rates.setdefault((who, what), []).append(rate)

    with tempfile.TemporaryDirectory() as folder:
        corpus = pathlib.Path(folder) / "texts.jsonl"
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        troupe = [args.troupe, "bench", "tokenizer", "--json", "--tokenizer", args.gpt2, "--train-vocab-size",
                  str(args.vocab_size), str(corpus)]
        encoded = subprocess.run([args.troupe, "tokenizer", "encode", "--jsonl", "--tokenizer", args.gpt2],
                                 stdin=open(corpus), capture_output=True, check=True).stdout
        ours = [json.loads(line)["ids"] for line in encoded.splitlines()]
        for _ in range(args.rounds):
            for line in subprocess.run(troupe, capture_output=True, check=True).stdout.splitlines():
                row = json.loads(line)
                record("Troupe", row["name"].removeprefix("tokenizer-"), row["value"])
            seconds, ids = timed(lambda: [e.ids for e in hf.encode_batch_fast(texts)])
            assert ids == ours, "Hugging Face tokenizers gives other ids"
            record("Hugging Face tokenizers " + tokenizers.__version__, "encode", size / seconds / 1e6)
            seconds, ids = timed(lambda: [tik.encode_ordinary(text) for text in texts])
            assert ids == ours, "tiktoken gives other ids"
            record("tiktoken " + tiktoken.__version__, "encode", size / seconds / 1e6)
            record("Hugging Face tokenizers " + tokenizers.__version__, "train", size / timed(train_hf)[0] / 1e6)

    print(f"{len(texts)} texts, {size} bytes, {sum(map(len, ours))} tokens; one thread, its processor time; median of {args.rounds} rounds\n")
    print(f"| MB/s | encode (GPT-2) | train ({args.vocab_size} tokens) |\n|---|---|---|")
    for who in dict.fromkeys(who for who, _ in rates):
        cells = [f"{statistics.median(rates[who, what]):.1f}" if (who, what) in rates else "–" for what in ("encode", "train")]
        print(f"| {who} | {cells[0]} | {cells[1]} |")


main()
