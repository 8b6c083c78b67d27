#!/usr/bin/env python3
"""Writes tests/data/gguf: small GGUF files as the package gguf writes them.

Needs `pip install gguf safetensors`. Usage: tools/make_gguf_test_files.py [tests/data]
types.gguf: a tensor of every type, and as F32 tensor NAME.expected its values as gguf computes them with numpy; NAME.values
  is what was quantised, where gguf can. tokenizer-NAME.gguf: published/NAME.json of tests/data/tokenizer inside.
model-NAME.gguf: the model of golden/hf-small/NAME, laid out as llama.cpp's own converter does.
"""
import json
import math
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

data = sys.argv[1] if len(sys.argv) > 1 else "tests/data"
out = os.path.join(data, "gguf")
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(1)
Type = gguf.GGMLQuantizationType


def k_blocks(kind, rows, blocks):
    """Random blocks with scales that are plain numbers; gguf cannot quantise to these."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    raw = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    scales = rng.normal(0, 0.01, (rows, blocks, 2)).astype(np.float16).view(np.uint8)
    if kind == Type.Q6_K:
        raw[:, :, -2:] = scales[:, :, :2]
    else:
        raw[:, :, :4] = scales
    return raw.reshape(rows, blocks * size)


def types():
    writer = gguf.GGUFWriter(os.path.join(out, "types.gguf"), "llama")
    for method, key, value in [("uint8", "x.u8", 200), ("int8", "x.i8", -5), ("uint16", "x.u16", 60000), ("int16", "x.i16", -300),
                               ("uint32", "x.u32", 4000000000), ("int32", "x.i32", -70000), ("uint64", "x.u64", 2**53 + 2),
                               ("int64", "x.i64", -2**40), ("float32", "x.f32", 0.5), ("float64", "x.f64", 0.1), ("bool", "x.bool", True),
                               ("string", "x.string", "héllo")]:
        getattr(writer, "add_" + method)(key, value)
    writer.add_array("x.strings", ["a", "", "ü"])
    writer.add_array("x.numbers", [3, -1, 7])
    values = rng.normal(0, 1, (2, 256)).astype(np.float32)
    values[0, :4] = [0.0, -0.0, 65504.0, 6e-8]
    values[1, 64:96] = 0.0
    for kind in [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q5_K, Type.Q6_K]:
        name = kind.name.lower()
        if kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
            raw = k_blocks(kind, 3, 2)
        else:
            raw = gguf.quants.quantize(values, kind)
            writer.add_tensor(name + ".values", values)
        writer.add_tensor(name, raw, raw_dtype=kind)
        writer.add_tensor(name + ".expected", gguf.quants.dequantize(raw, kind).astype(np.float32))
    writer.add_tensor("scalars.3d", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tokenizer(name, pre, add_bos, chat_template=None):
    document = json.load(open(os.path.join(data, "tokenizer", "published", name + ".json")))
    tokens = dict(document["model"]["vocab"])
    added = {token["id"]: token for token in document["added_tokens"]}
    tokens.update({token["content"]: id for id, token in added.items()})
    names = sorted(tokens, key=tokens.get)
    kinds = [gguf.TokenType.NORMAL if i not in added else
             gguf.TokenType.CONTROL if added[i]["special"] else gguf.TokenType.USER_DEFINED for i in range(len(names))]
    merges = [m if isinstance(m, str) else " ".join(m) for m in document["model"]["merges"]]
    writer = gguf.GGUFWriter(os.path.join(out, f"tokenizer-{name}.gguf"), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(add_bos)
    if chat_template:
        writer.add_chat_template(chat_template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pieces():
    """SentencePiece's BPE, as Llama 2's files have it."""
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    with open(os.path.join(data, "tokenizer", "sentencepiece", "bpe.model"), "rb") as file:
        proto.ParseFromString(file.read())
    writer = gguf.GGUFWriter(os.path.join(out, "tokenizer-pieces.gguf"), "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp", "block_sparse_moe.gate": "ffn_gate_inp",
         "block_sparse_moe.router.layer": "ffn_gate_inp", "self_attn.dense": "attn_output", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
         "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp"}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.final_layernorm": "output_norm",
         "lm_head": "output"}
EXPERT = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps",
          "w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps"}


def model(name, architecture):
    folder = os.path.join(data, "golden", "hf-small", name)
    config = json.load(open(os.path.join(folder, "config.json")))
    writer = gguf.GGUFWriter(os.path.join(out, f"model-{name}.gguf"), architecture)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    if architecture == "phi2":
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_rope_dimension_count(int(width * config["rope_parameters"].get("partial_rotary_factor", 1.0)))
    if config.get("head_dim"):
        writer.add_key_length(width)
        writer.add_value_length(width)
    experts = config.get("num_experts") or config.get("num_local_experts")
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
        if "moe_intermediate_size" in config:
            writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        if "shared_expert_intermediate_size" in config:
            writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if architecture == "granitemoe":
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    writer.add_eos_token_id(config["eos_token_id"])
    rope = config["rope_parameters"]
    if rope["rope_type"] == "llama3":
        low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
        high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
        divisors = []
        for j in range(0, width, 2):
            wave = 2 * math.pi * rope["rope_theta"]**(j / width)
            smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            divisors.append(1 if wave < high else rope["factor"] if wave > low else
                            1 / ((1 - smooth) / rope["factor"] + smooth))
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])  # not 8192, as it is there
        writer.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))

    def paired(values, count):
        if architecture not in ("llama", "granitemoe"):
            return values
        rows = values.shape[0]
        return values.reshape(count, 2, rows // count // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)

    slabs = {}
    for key, values in sorted(load_file(os.path.join(folder, "model.safetensors")).items()):
        values = values.astype(np.float32)
        stem, kind = key.rsplit(".", 1)
        if stem in WHOLE:
            new = WHOLE[stem]
            writer.add_tensor(f"{new}.{kind}", values)
            continue
        _, _, layer, stem = stem.split(".", 3)
        if stem.startswith("block_sparse_moe.input_linear"):
            half = values.shape[1] // 2
            writer.add_tensor(f"blk.{layer}.ffn_gate_exps.{kind}", np.ascontiguousarray(values[:, :half]))
            writer.add_tensor(f"blk.{layer}.ffn_up_exps.{kind}", np.ascontiguousarray(values[:, half:]))
            continue
        if stem.startswith("block_sparse_moe.output_linear"):
            writer.add_tensor(f"blk.{layer}.ffn_down_exps.{kind}", values)
            continue
        if ".experts." in stem:
            _, expert, part = stem.split(".experts.")[0], *stem.split(".experts.")[1].split(".")
            slabs.setdefault(f"blk.{layer}.{EXPERT[part]}.{kind}", {})[int(expert)] = values
            continue
        if stem.endswith(("q_proj", "k_proj")):
            values = paired(values, heads if stem.endswith("q_proj") else kv_heads)
        if stem == "mlp.shared_expert_gate":
            values = values.reshape(-1)
        writer.add_tensor(f"blk.{layer}.{LAYER[stem]}.{kind}", np.ascontiguousarray(values))
    for key, parts in slabs.items():
        writer.add_tensor(key, np.stack([parts[e] for e in range(experts)]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GPT2 = {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
        "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def gpt2(name):
    folder = os.path.join(data, "golden", "hf-small", name)
    config = json.load(open(os.path.join(folder, "config.json")))
    writer = gguf.GGUFWriter(os.path.join(out, f"model-{name}.gguf"), "gpt2")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_eos_token_id(config["eos_token_id"])
    for key, values in sorted(load_file(os.path.join(folder, "model.safetensors")).items()):
        stem, kind = key.removeprefix("transformer.").rsplit(".", 1)
        block = ""
        if stem.startswith("h."):
            _, layer, stem = stem.split(".", 2)
            block = f"blk.{layer}."
        if values.ndim == 2 and block:  # Conv1D
            values = values.T
        writer.add_tensor(f"{block}{GPT2[stem]}.{kind}", np.ascontiguousarray(values))
        if stem == "wte":  # as earlier releases of the converter wrote it
            writer.add_tensor("output.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


types()
for name, architecture in [("llama", "llama"), ("qwen3", "qwen3"), ("mixtral", "llama"), ("qwen2_moe", "qwen2moe"),
                           ("granitemoe", "granitemoe"), ("llama3_rope", "llama"), ("phi", "phi2")]:
    model(name, architecture)
gpt2("gpt2")
tokenizer("smollm", "smollm", False, "{% for m in messages %}{{ m.content }}{% endfor %}")
tokenizer("llama3", "llama-bpe", True)
pieces()
