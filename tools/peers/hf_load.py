#!/usr/bin/env python3
"""Whether transformers loads what `troupe convert --to hf` writes, with equal logits.

    hf_load.py TROUPE GOLDEN [WORK]       (needs torch and transformers)

Every folder of GOLDEN (tests/data/golden/hf-small, or data of that kind) is converted to a Troupe model and back to a
Hugging Face directory. Tensors must then have the same names and bits, and transformers' logits on the folder's text
must be those that its original gave (2e-5). Exit code 1 if anything differs.
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

TOLERANCE = 2e-5


def faults_of(program, folder, work):
    ours, back = work / (folder.name + '.troupe'), work / (folder.name + '.hf')
    for source, target, more in ((folder, ours, []), (ours, back, ['--to', 'hf'])):
        done = subprocess.run([program, 'convert', str(source), str(target), *more], capture_output=True, text=True)
        if done.returncode:
            return [done.stderr.strip().splitlines()[-1]]
    before, after = load_file(folder / 'model.safetensors'), load_file(back / 'model.safetensors')
    faults = [f'{name}: in one of the two alone' for name in before.keys() ^ after.keys()]
    faults += [f'{name}: other bits' for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])]
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        back, attn_implementation='eager', output_loading_info=True)
    faults += [f'{kind}: {names}' for kind, names in report.items() if names]
    golden = load_file(folder / 'golden.safetensors')
    with torch.no_grad():
        difference = (model.float().eval()(golden['src']).logits - golden['logits']).abs().max().item()
    if not difference <= TOLERANCE:
        faults.append(f'logits: {difference:.1e} apart')
    print(f'{folder.name}: {type(model).__name__}, {len(after)} tensors, logits {difference:.1e} apart', *faults)
    return faults


def main():
    program, golden = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else temporary)
        folders = sorted(path.parent for path in golden.glob('*/golden.safetensors'))
        wrong = [folder.name for folder in folders if faults_of(program, folder, work)]
    print(f'{len(folders) - len(wrong)} of {len(folders)} equal')
    sys.exit(bool(wrong) or not folders)


main()
