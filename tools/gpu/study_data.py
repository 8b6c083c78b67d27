#!/usr/bin/env python3
"""A part of a corpus for a study on a GPU to which data must be carried (tools/gpu/study.sh), as OUT.tar.xz:

    pip install xxhash
    python3 tools/gpu/study_data.py corpus/full /tmp/study-data --share 0.48 --scored-bytes 600000

Of every training domain the same share of documents, of every domain that is scored as many as come to --scored-bytes; which
ones a hash of their text says. The result is a corpus like any other, and names what it was taken from.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess

import xxhash


def place(text):
    """Of a document among those of its domain: from 0 to 1."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big') / 2**64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('corpus', type=pathlib.Path)
    parser.add_argument('out', type=pathlib.Path, help='a folder; OUT.tar.xz is made of it')
    parser.add_argument('--share', type=float, default=0.48, help='of the documents of every training domain (0.48)')
    parser.add_argument('--scored-bytes', type=int, default=600_000, help='of text of every other domain (600,000)')
    parser.add_argument('--most-bytes', type=int, default=32 << 20, help='that the archive may have (32 MiB)')
    options = parser.parse_args()
    manifest = json.loads((options.corpus / 'manifest.json').read_text())
    parts = []
    for part in manifest['parts']:
        lines = [json.loads(line)['text'] for line in open(options.corpus / part['file'], encoding='utf-8')]
        texts = [text for text in lines if place(text) < options.share]
        if part['split'] != 'train':
            texts, size = [], 0
            for text in sorted(lines, key=place):
                if size < options.scored_bytes:
                    texts.append(text)
                    size += len(text.encode())
        file = options.out / part['file']
        file.parent.mkdir(parents=True, exist_ok=True)
        data = ''.join(json.dumps({'text': text}, ensure_ascii=False) + '\n' for text in texts).encode()
        file.write_bytes(data)
        parts.append({**part, 'documents': len(texts), 'text_bytes': sum(len(text.encode()) for text in texts),
                      'file_bytes': len(data), 'xxh3': xxhash.xxh3_64(data).hexdigest()})
        print(f'{part["split"]:8} {part["domain"]:16} {len(texts):7} documents, {parts[-1]["text_bytes"] / 1e6:6.1f} MB', flush=True)
    manifest.update(parts=parts, taken={'share': options.share, 'scored_bytes': options.scored_bytes})
    (options.out / 'manifest.json').write_text(json.dumps(manifest, ensure_ascii=False) + '\n')
    archive = pathlib.Path(f'{options.out}.tar.xz')
    subprocess.run(['tar', '-C', str(options.out.parent), '-c', '-I', 'xz -T0 -6', '-f', str(archive), options.out.name], check=True)
    size = archive.stat().st_size
    if size > options.most_bytes:
        parser.exit(1, f'{archive}: expected at most {options.most_bytes} bytes, got {size} (a smaller --share)\n')
    print(f'{archive}: {size} bytes')


main()
