#!/usr/bin/env python3
"""Reference data of Hugging Face's PEFT, as tests/data/golden/peft-small has it: adapters of the models of
tests/data/golden/hf-small, and what they make of loss and gradients in float32 with eager attention.

    peft_golden.py HF_SMALL OUT       (needs torch, transformers and peft)

Each of ADAPTERS becomes a folder OUT/MODEL-NAME: adapter_config.json and adapter_model.safetensors as PEFT saves them, and
golden.safetensors: src, tgt int64 [2, 15]; logits; nll_sum; and grad.TENSOR, the gradient of nll_sum by every tensor of
adapter_model.safetensors.
"""
import pathlib
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

ADAPTERS = {
    'llama-qv': dict(r=4, lora_alpha=8, target_modules=['q_proj', 'v_proj']),
    'llama-all': dict(r=3, lora_alpha=5, use_rslora=True, rank_pattern={'down_proj': 2},
                      alpha_pattern={'layers.1.self_attn.q_proj': 7},
                      target_modules=['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']),
    'gpt2-all': dict(r=4, lora_alpha=4, target_modules=['c_attn', 'c_proj', 'c_fc'], fan_in_fan_out=True),
    'gpt_neox-all': dict(r=2, lora_alpha=6, target_modules=['query_key_value', 'dense', 'dense_h_to_4h', 'dense_4h_to_h']),
    'mixtral-experts': dict(r=2, lora_alpha=3, target_modules=['q_proj'],
                            target_parameters=['mlp.experts.gate_up_proj', 'mlp.experts.down_proj'],
                            rank_pattern={'mlp.experts.gate_up_proj': 3}),
    'qwen2_moe-down': dict(r=2, lora_alpha=4, target_modules=[], target_parameters=['experts.down_proj']),
    'granitemoe-gate_up': dict(r=2, lora_alpha=5, target_modules=[], target_parameters=['experts.gate_up_proj']),
    'olmoe-router': dict(r=2, lora_alpha=4, target_modules=[], target_parameters=['mlp.gate.weight'],
                         rank_pattern={'mlp.gate.weight': 1}),
    'opt-qv': dict(r=2, lora_alpha=3, target_modules=['q_proj', 'v_proj', 'fc1']),
}


def write(hf, out, name):
    torch.manual_seed(sum(map(ord, name)))
    base = hf / name.split('-')[0]
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation='eager')
    model = peft.get_peft_model(model, peft.LoraConfig(task_type='CAUSAL_LM', **ADAPTERS[name])).eval()
    trained = {k.replace('.default', ''): p for k, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for p in trained.values():
            p.normal_(0, 0.7 / p.shape[-1]**0.5)
    folder = out / name
    model.save_pretrained(folder)
    (folder / 'README.md').unlink(missing_ok=True)
    path = folder / 'adapter_config.json'
    path.write_text(path.read_text().replace(str(base), 'base'))
    ids = torch.randint(3, model.config.vocab_size, (2, 16), generator=torch.Generator().manual_seed(5))
    src, tgt = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    logits = model(src).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tgt.flatten(), reduction='sum')
    loss.backward()
    saved = load_file(folder / 'adapter_model.safetensors')
    assert set(saved) == set(trained), set(saved) ^ set(trained)
    data = {'src': src, 'tgt': tgt, 'logits': logits, 'nll_sum': loss.reshape(1)}
    data |= {f'grad.{k}': trained[k].grad for k in saved}
    save_file({k: v.detach().clone().contiguous() for k, v in data.items()}, folder / 'golden.safetensors')
    print(f'{name}: nll {loss.item() / tgt.numel():.4f}, {len(saved)} tensors')


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    hf, out = map(pathlib.Path, sys.argv[1:])
    for name in ADAPTERS:
        write(hf, out, name)
    print('peft', peft.__version__, 'transformers', transformers.__version__, 'torch', torch.__version__)


main()
