#!/usr/bin/env python3
"""Reference data of Hugging Face transformers, as tests/data/golden/hf-small has it: small random models with logits,
hidden states, gradients, routing and greedy text in float32 with eager attention.

    hf_golden.py OUT [NAME ...]       (needs torch and transformers)

The names are those of MODELS; each becomes a folder OUT/NAME. The README.md there says what the files hold.
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file

SIZES = dict(vocab_size=131, hidden_size=32, num_hidden_layers=2, intermediate_size=40, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5)


def llama(**more):
    return transformers.LlamaConfig, dict(SIZES, **more)


def scaled(kind, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=10000.0, factor=4.0, **more))


MODELS = {
    'rope_linear': llama(**scaled('linear')),
    # The text is longer than the context: the base of the frequencies grows with it.
    'rope_dynamic': llama(**dict(scaled('dynamic'), max_position_embeddings=12)),
    'rope_yarn': llama(**scaled('yarn', original_max_position_embeddings=16)),
    'rope_yarn_factor': llama(head_dim=16, **scaled('yarn', original_max_position_embeddings=8, beta_fast=8.0,
                                                    beta_slow=2.0, attention_factor=0.8, truncate=False)),
    'qwen3_window': (transformers.Qwen3Config, dict(SIZES, head_dim=16, use_sliding_window=True, sliding_window=5,
                                                    max_window_layers=1)),
    'gpt_neox_serial': (transformers.GPTNeoXConfig, dict(
        vocab_size=131, hidden_size=48, num_hidden_layers=2, intermediate_size=64, num_attention_heads=6,
        max_position_embeddings=64, rotary_pct=0.5, use_parallel_residual=False)),
    'qwen2_moe_sparse_step': (transformers.Qwen2MoeConfig, dict(
        SIZES, num_hidden_layers=3, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=12,
        shared_expert_intermediate_size=20, decoder_sparse_step=2, mlp_only_layers=[], norm_topk_prob=False)),
    'qwen3_moe_dense_first': (transformers.Qwen3MoeConfig, dict(
        SIZES, num_hidden_layers=3, head_dim=8, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=12,
        mlp_only_layers=[0], norm_topk_prob=True)),
    'olmoe_heads': (transformers.OlmoeConfig, dict(  # as many keys and values as queries: as the released ones, and GGUF
        SIZES, num_key_value_heads=4, intermediate_size=12, num_experts=4, num_experts_per_tok=2, norm_topk_prob=False)),
    'phi': (transformers.PhiConfig, dict(  # one norm for two parallel blocks, a bias of the logits
        vocab_size=131, hidden_size=32, num_hidden_layers=2, intermediate_size=40, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
        rope_parameters=dict(rope_type='default', rope_theta=10000.0, partial_rotary_factor=0.5))),
    'gpt2_relu': (transformers.GPT2Config, dict(vocab_size=131, n_embd=32, n_layer=2, n_head=4, n_positions=64,
                                                n_inner=40, activation_function='relu', scale_attn_weights=False)),
}


def before_5(config):
    """The same configuration as releases before transformers 5 wrote it."""
    config = dict(config)
    rope = config.pop('rope_parameters', None)
    if rope:
        rope = dict(rope)
        part, theta, kind = (rope.pop(key, None) for key in ('partial_rotary_factor', 'rope_theta', 'rope_type'))
        if config['model_type'] == 'gpt_neox':
            config.update(rotary_pct=part, rotary_emb_base=theta)
        else:
            if part is not None:
                config.update(partial_rotary_factor=part)
            config.update(rope_theta=theta, rope_scaling=None if kind == 'default' else dict(rope, type=kind))
    config.update(torch_dtype=config.pop('dtype', 'float32'), transformers_version='4.44.0')
    return config


def write(folder, name):
    make, settings = MODELS[name]
    torch.manual_seed(sum(map(ord, name)))
    config = make(**settings, bos_token_id=1, eos_token_id=2, pad_token_id=None)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation='eager').float().eval()
    with torch.no_grad():  # large enough that nothing is nearly linear; norms and biases off 1 and 0
        for p in model.parameters():
            p.normal_(0, 0.9 / p.shape[-1]**0.5) if p.ndim >= 2 else p.add_(torch.randn_like(p) * 0.15)
    model.save_pretrained(folder)
    (folder / 'generation_config.json').unlink(missing_ok=True)
    ids = torch.randint(3, config.vocab_size, (2, 22), generator=torch.Generator().manual_seed(5))
    src, tgt = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    moe = 'moe' in name
    result = model(src, output_hidden_states=True, **(dict(output_router_logits=True) if moe else {}))
    loss = torch.nn.functional.cross_entropy(result.logits.flatten(0, 1), tgt.flatten(), reduction='sum')
    loss.backward()
    logprobs = torch.log_softmax(result.logits.detach().double(), -1).gather(-1, tgt[..., None]).squeeze(-1)
    data = {'src': src, 'tgt': tgt, 'logits': result.logits, 'logprobs': logprobs.float(), 'nll_sum': loss.reshape(1)}
    data |= {f'hidden.{i}': h for i, h in enumerate(result.hidden_states)}
    if moe:
        data |= {f'router.{i}': h for i, h in enumerate(h for h in result.router_logits if h is not None)}
    # In rope_dynamic the text grows beyond the context, and keys in a cache keep the frequencies of their time: a text
    # made without a cache is another one.
    length = 10 if name == 'rope_dynamic' else 5
    with torch.no_grad():
        text = model.generate(src[:1, :length], max_new_tokens=16, do_sample=False, eos_token_id=None, pad_token_id=0)
    data |= {'greedy_prompt': src[:1, :length], 'greedy': text[:, length:]}
    save_file({k: v.detach().clone().contiguous() for k, v in data.items()}, folder / 'golden.safetensors')
    with torch.no_grad():  # gradients under the names of the file format: saved like weights
        for p in model.parameters():
            p.copy_(p.grad if p.grad is not None else torch.zeros_like(p))
    beside = folder.with_suffix('.grads')
    model.save_pretrained(beside)
    (beside / 'model.safetensors').replace(folder / 'grads.safetensors')
    shutil.rmtree(beside)
    old = before_5(json.loads((folder / 'config.json').read_text()))
    (folder / 'config.v4.json').write_text(json.dumps(old, indent=1))
    print(f'{name}: nll {loss.item() / tgt.numel():.4f}, {len(data)} tensors')


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:] or MODELS:
        write(out / name, name)
    print('transformers', transformers.__version__, 'torch', torch.__version__)


main()
