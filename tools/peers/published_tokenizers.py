#!/usr/bin/env python3
"""Encodes the same text with Troupe and with Hugging Face tokenizers and counts the documents whose ids differ, for
tokenizer.json files as families publish them. Needs `pip install tokenizers`.

    tools/peers/published_tokenizers.py --troupe build/release/src/cli/troupe [--shapes DIR] [FOLDER...] --text FILE...

FOLDER has a tokenizer.json. --shapes trains tokenizers of the shapes of tools/tokenizer_vectors.py on a 20th of the text, 8,192
tokens each, writes them into DIR and compares them too. Texts are cut at line ends into documents of about 16 KB.
Speed: bytes per second of one thread's processor time, text to ids.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
HERE = pathlib.Path(__file__).resolve().parent
from documents import documents  # noqa: E402
from tokenizers import Tokenizer, __version__  # noqa: E402

sys.path.append(str(HERE.parent))
import tokenizer_vectors  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--troupe", required=True, help="the program")
    parser.add_argument("--shapes", help="folder for trained tokenizers of published shapes")
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--text", nargs="+", required=True, metavar="FILE")
    args = parser.parse_args()

    texts = documents(args.text)
    size = sum(len(text.encode()) for text in texts)
    hard = tokenizer_vectors.HARD + tokenizer_vectors.MORE
    folders = [pathlib.Path(folder) for folder in args.folders]
    if args.shapes:
        for name, (_, document) in tokenizer_vectors.published("".join(texts[::20]), 8192).items():
            folder = pathlib.Path(args.shapes) / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False))
            folders.append(folder)
    print(f"{len(texts)} documents, {size} bytes; Hugging Face tokenizers {__version__}\n")
    print("| tokenizer | vocabulary | tokens | documents that differ | MB/s Troupe | MB/s Hugging Face |\n|---|---|---|---|---|---|")
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        corpus = pathlib.Path(scratch) / "texts.jsonl"
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts + hard))
        plain = pathlib.Path(scratch) / "plain.jsonl"
        plain.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        for folder in folders:
            peer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            encoded = subprocess.run([args.troupe, "tokenizer", "encode", "--jsonl", "--tokenizer", str(folder / "tokenizer.json")],
                                     stdin=open(corpus), capture_output=True, check=True).stdout
            ours = [json.loads(line)["ids"] for line in encoded.splitlines()]
            start = time.process_time()
            theirs = [e.ids for e in peer.encode_batch_fast(texts)]
            seconds = time.process_time() - start
            theirs += [e.ids for e in peer.encode_batch_fast(hard)]
            differ = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
            bench = subprocess.run([args.troupe, "bench", "tokenizer", "--json", "--tokenizer", str(folder / "tokenizer.json"),
                                    "--train-vocab-size", "0", str(plain)], capture_output=True, check=True).stdout
            rate = json.loads(bench.splitlines()[0])["value"]
            name = folder.name if args.shapes and str(folder).startswith(args.shapes) else str(folder)
            print(f"| {name} | {peer.get_vocab_size()} | {sum(map(len, ours))} | {len(differ)} | {rate:.1f} | {size / seconds / 1e6:.1f} |", flush=True)
            failed |= bool(differ)
            for i in differ[:3]:
                text = (texts + hard)[i]
                at = next((k for k, (a, b) in enumerate(zip(ours[i], theirs[i])) if a != b), min(len(ours[i]), len(theirs[i])))
                show = [peer.decode(ids[max(at - 3, 0):at + 5], skip_special_tokens=False) for ids in (ours[i], theirs[i])]
                print(f"  {json.dumps(text[:40])}: id {at}: {show[0]!r}, expected {show[1]!r}", file=sys.stderr)
    sys.exit(failed)


main()
