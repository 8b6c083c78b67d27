#!/usr/bin/env python3
"""Compares `troupe eval ppl` with transformers, document by document: tokens, and sums of negative log-likelihoods.

    hf_perplexity.py TROUPE MODEL TEXT.jsonl [DOCUMENTS]       (needs torch and transformers)

MODEL is a Hugging Face directory, which both read as it is; of TEXT the first DOCUMENTS (100) are taken. Both compute in
float32, transformers one document at a time: end-of-text, the text, end-of-text. Exit code 1 if a document has other
tokens, or a sum that is more than 2e-6 of its size off.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
import transformers

TOLERANCE = 2e-6


def scores_of_troupe(program, model, lines):
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / 'documents.jsonl'
        data.write_text(''.join(lines))
        done = subprocess.run([program, 'eval', 'ppl', '--model', model, '--data', str(data), '--mode', 'documents',
                               '--precision', 'fp32', '--quiet', '--json'], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return json.loads(done.stdout)


def scores_of_transformers(folder, texts):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    eos = model.config.eos_token_id
    for text in texts:
        ids = torch.tensor([[eos, *tokenizer(text, add_special_tokens=False)['input_ids'], eos]])
        with torch.inference_mode():
            logits = model(ids[:, :-1]).logits[0].double()  # its log-sum-exp in float32 would be 8e-6 off
        nll = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction='none')
        yield nll.sum().item(), len(nll)


def main():
    program, model, data = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 100
    with open(data) as file:
        lines = [line for _, line in zip(range(count), file)]
    start = time.process_time()
    theirs = list(scores_of_transformers(model, [json.loads(line)['text'] for line in lines]))
    print(f'transformers {transformers.__version__}: {time.process_time() - start:.0f} s of processor time')
    result = scores_of_troupe(program, model, lines)
    ours = result['document_scores']
    wrong = [i for i, (a, b) in enumerate(zip(ours, theirs)) if a[1] != b[1] or abs(a[0] - b[0]) > TOLERANCE * b[0]]
    for i in wrong[:10]:
        print(f'document {i}: {ours[i][0]} over {ours[i][1]} tokens, transformers {theirs[i][0]} over {theirs[i][1]}')
    tokens, total = sum(n for _, n in theirs), sum(nll for nll, _ in theirs)
    print(f'{len(ours)} documents, {tokens} tokens: {result["nll"]:.6f} nats per token, transformers {total / tokens:.6f}; '
          f'largest relative difference of a document '
          f'{max(abs(a[0] - b[0]) / b[0] for a, b in zip(ours, theirs)):.1e}')
    sys.exit(len(ours) != len(theirs) or bool(wrong))


main()
