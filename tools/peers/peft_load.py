#!/usr/bin/env python3
"""Whether PEFT loads an adapter that `troupe finetune` wrote, with the logits of the model that it was merged into.

    peft_load.py BASE ADAPTER MERGED       (needs torch, transformers and peft)

BASE and MERGED are Hugging Face directories (`troupe convert --to hf` of the model that was fine-tuned and of RUN/model).
Exit code 1 if logits on random text differ by more than 2e-5 of the largest, or PEFT misses or ignores a tensor.
"""
import sys
import warnings

import peft
import torch
import transformers


def main():
    base, adapter, merged = sys.argv[1:]
    warnings.simplefilter('error', UserWarning)  # PEFT warns of keys that it misses
    load = lambda path: transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation='eager')
    expected = load(merged).eval()
    model = load(base).eval()
    ids = torch.randint(3, model.config.vocab_size, (2, 16), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        before = model(ids).logits
        with_adapter = peft.PeftModel.from_pretrained(model, adapter).eval()(ids).logits
        after = expected(ids).logits
    scale = after.abs().max()
    difference, moved = ((with_adapter - after).abs().max() / scale).item(), ((before - after).abs().max() / scale).item()
    print(f'logits {difference:.1e} apart, {moved:.1e} from those without the adapter')
    sys.exit(not (difference <= 2e-5 < moved))


main()
