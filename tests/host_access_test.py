#!/usr/bin/env python3
"""Checks that the host touches elements of tensors only where it may: they may lie in a device's memory.

    host_access_test.py SOURCE_FOLDER

Kernels do, through HostMatrix; Matrix has no access. What is above ops passes views on, and keeps no tensors of the
host's but where ALLOWED says why; memory that only ops reach is proved by tests/unit/train/host_access_test.cpp.
"""
import pathlib
import re
import sys

# What is looked for, and the folders of src/ that need no leave.
WORDS = [
    (re.compile(r'\bHostMatrix\b|tensor/host_matrix\.h'), 'HostMatrix', ('tensor', 'kernels')),
    (re.compile(r'\bBuffer<|\bTensor\b'), 'a tensor of the host', ('tensor', 'io', 'kernels', 'ops')),
    (re.compile(r'\w_[BSTDFVHGCEKRNP]{1,4}\s*\['), 'an element of a tensor',
     ('tensor', 'io', 'kernels', 'ops', 'study')),  # study/ holds results: loads of experts
]

# How a path starts -> (what, why it may).
ALLOWED = {
    'src/ops/loss.cpp': ('HostMatrix', 'the row for processors takes turns with products, which are ops'),
    'src/nn/parameters': ('a tensor of the host', 'the values, in the memory that the store is given'),
    'src/nn/lo': ('a tensor of the host', 'room for what products of adapters make, in the memory of the model'),
    'src/nn/dropped_adapters': ('a tensor of the host', 'room for what products of adapters make, as src/nn/lo'),
    'src/model/workspace.h': ('a tensor of the host', 'sinusoids, in the memory of the workspace'),
    'src/model/decoder.cpp': ('an element of a tensor', 'the batch as the host has it'),
    'src/model/decoder_state.cpp': ('an element of a tensor', 'the batch as the host has it'),
    'src/model/language_model.cpp': ('a tensor of the host', 'a parameter on its way from a file into packed weights'),
    'src/model/model_directory.cpp': ('a tensor of the host', 'a parameter on its way into a file'),
    'src/model/fairseq_model.cpp': ('a tensor of the host', 'compares two tensors of a file'),
    'src/model/model_tensors.cpp': ('a tensor of the host', 'a parameter on its way into a file'),
    'src/model/torch_tensors': ('a tensor of the host', 'tensors of a file that do not lie row by row in it'),
    'src/model/hf/': ('a tensor of the host', 'a parameter on its way between two layouts of files'),
    'src/model/gguf/': ('a tensor of the host', 'a parameter on its way between two layouts of files'),
    'src/train/optimizer': ('a tensor of the host', 'room for moments on their way, in the memory of the model'),
    'src/train/rank_shares': ('a tensor of the host', 'gradients and parameters on their way between ranks'),
    'src/nn/moe/ranked_experts': ('a tensor of the host', 'copies of rows on their way between ranks'),
    'src/train/checkpoint.cpp': ('a tensor of the host', 'moments of bf16 on their way from a file'),
    'src/infer/sampler.cpp': ('an element of a tensor', 'draws on the host from logits'),
    'src/infer/': ('a tensor of the host', 'keys and values, which ops alone fill; logits, which the sampler reads'),
    'src/eval/': ('a tensor of the host', 'hidden states that are scored, which ops alone fill'),
    'src/cli/inspect.cpp': ('a tensor of the host', 'values of a file'),
    'src/cli/peak': ('a tensor of the host', 'arrays, whose bandwidth is measured'),
    'src/cli/bench_': ('a tensor of the host', 'measures ops of the host'),
}


def faults_of(root):
    found = set()
    for path in sorted(p for p in (root / 'src').rglob('*') if p.suffix in ('.h', '.cpp')):
        name = str(path.relative_to(root))
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split('//')[0]
            for pattern, what, folders in WORDS:
                if path.relative_to(root).parts[1] in folders or not pattern.search(code):
                    continue
                rows = {start for start, (allowed, _) in ALLOWED.items() if name.startswith(start) and allowed == what}
                found |= rows
                if not rows:
                    yield f'{name}:{number}: expected an op or a view (ops/transfer.h at an edge), got {what}'
    for name in sorted(set(ALLOWED) - found):
        yield f'{name}: expected {ALLOWED[name][0]}, as the table says, got none (drop its row)'


def main():
    faults = list(faults_of(pathlib.Path(sys.argv[1])))
    print('\n'.join(faults) or 'elements of tensors are touched where they may be')
    sys.exit(bool(faults))


main()
