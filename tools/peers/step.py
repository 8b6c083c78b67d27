#!/usr/bin/env python3
"""Training steps of the models of `troupe bench step` in PyTorch and in Troupe, in turn, in one run.

    pip install torch        # whatever version is there is used and named
    python3 tools/peers/step.py --troupe build/release/src/cli/troupe dense-6x256 moe16-6x256

The PyTorch model has the same architecture (pre-LN, tied output, sinusoidal positions left out, biases) with fused
scaled_dot_product_attention and fused AdamW where the version has it, in bf16 autocast and in float32. Its MoE layer
comes in two forms: `sparse` sorts rows by expert and runs each expert on its rows; `dense` dispatches with the one-hot
einsum of GShard and of the study's authors (capacity 2 T / E per choice, tokens beyond it dropped). Every program runs
in a process of its own, whose peak memory is shown.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

MODELS = {  # layers, width, heads, vocabulary, context, experts, sequences, micro-batch: as in src/cli/bench_step.cpp
    "dense-12x768": (12, 768, 12, 50257, 1024, 0, 8, 4),
    "moe8-12x768": (12, 768, 12, 50257, 1024, 8, 16, 4),
    "moe32-12x768": (12, 768, 12, 50257, 1024, 32, 16, 2),
    "dense-6x256": (6, 256, 4, 8192, 256, 0, 32, 32),
    "moe16-6x256": (6, 256, 4, 8192, 256, 16, 32, 32),
}


class Ffn(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Moe(nn.Module):
    def __init__(self, width, experts, dispatch):
        super().__init__()
        self.dispatch = dispatch
        self.gate = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(Ffn(width) for _ in range(experts))

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        with torch.autocast("cpu", enabled=False):
            prob = F.softmax(self.gate(x.float()), dim=-1)
        weight, choice = prob.topk(2, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        out = self.dense(x, weight, choice) if self.dispatch == "dense" else self.sparse(x, weight, choice)
        return out.reshape(shape)

    def sparse(self, x, weight, choice):
        out = torch.zeros_like(x, dtype=torch.float32)
        for number, expert in enumerate(self.experts):
            token, rank = (choice == number).nonzero(as_tuple=True)
            if len(token):
                out = out.index_add(0, token, weight[token, rank, None] * expert(x[token]).float())
        return out

    def dense(self, x, weight, choice):
        tokens, experts = x.shape[0], len(self.experts)
        capacity = 2 * tokens // experts
        one_hot = F.one_hot(choice, experts)  # [T, 2, E]
        order = one_hot.transpose(0, 1).reshape(2 * tokens, experts)  # all first choices, then all second ones
        place = (order.cumsum(0) - 1).reshape(2, tokens, experts).transpose(0, 1)
        kept = one_hot * (place < capacity)
        slot = F.one_hot((place * kept).sum(-1), capacity) * kept.sum(-1, keepdim=True)  # [T, 2, C]
        combine = torch.einsum("tk,tke,tkc->tec", weight, kept.to(weight.dtype), slot.to(weight.dtype))
        rows = torch.einsum("tec,td->ecd", combine.bool().to(x.dtype), x)
        rows = torch.stack([expert(part) for expert, part in zip(self.experts, rows)])
        return torch.einsum("tec,ecd->td", combine, rows.float())


class Layer(nn.Module):
    def __init__(self, width, heads, experts, dispatch):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ffn = Moe(width, experts, dispatch) if experts else Ffn(width)

    def forward(self, x):
        B, S, D = x.shape
        q, k, v = (t.reshape(B, S, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(context.transpose(1, 2).reshape(B, S, D))
        return x + self.ffn(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, layers, width, heads, vocab, experts, dispatch):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.layers = nn.ModuleList(Layer(width, heads, experts if i % 2 else 0, dispatch) for i in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.embed(tokens) * self.embed.embedding_dim**0.5
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(F.linear(self.norm(x), self.embed.weight).flatten(0, 1), targets.flatten())


def torch_rate(name, precision, dispatch, seconds):
    layers, width, heads, vocab, context, experts, sequences, micro = MODELS[name]
    torch.manual_seed(1)
    model = Decoder(layers, width, heads, vocab, experts, dispatch)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    except (RuntimeError, TypeError):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rates, begin = [], None
    while not rates or time.time() - begin < seconds:
        start = time.time()
        optimizer.zero_grad()
        for _ in range(sequences // micro):
            tokens = torch.randint(vocab, (micro, context + 1))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = model(tokens[:, :-1], tokens[:, 1:])
            loss.backward()
        optimizer.step()
        if begin is None:
            begin = time.time()  # the first step is not counted
        else:
            rates.append(sequences * context / (time.time() - start))
    return {"tokens_per_s": statistics.median(rates),
            "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def json_of(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["dense-6x256", "moe16-6x256"], help=", ".join(MODELS))
    parser.add_argument("--troupe", default="build/release/src/cli/troupe", help="the troupe program")
    parser.add_argument("--seconds", type=float, default=10, help="per program and model, at least one step")
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp32"], choices=["bf16", "fp32"])
    parser.add_argument("--dispatch", nargs="+", default=["sparse", "dense"], choices=["sparse", "dense"])
    parser.add_argument("--torch-only", action="store_true", help="one PyTorch figure as JSON (used by this script)")
    args = parser.parse_args()
    if args.torch_only:
        print(json.dumps(torch_rate(args.models[0], args.precisions[0], args.dispatch[0], args.seconds)))
        return
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads; median of steps")
    print(f"{'model':14} {'program':24} {'tokens/s':>9} {'GiB':>6} {'Troupe over it':>15}")
    for name in args.models:
        for precision in args.precisions:
            ours = json_of([args.troupe, "bench", "step", name, "--precision", precision, "--seconds",
                            str(args.seconds), "--json"])
            print(f"{name:14} {'Troupe ' + precision:24} {ours['tokens_per_s']:9.0f} {ours['peak_memory_gib']:6.2f}",
                  flush=True)
            for dispatch in args.dispatch if MODELS[name][5] else args.dispatch[:1]:
                theirs = json_of([sys.executable, __file__, name, "--torch-only", "--seconds", str(args.seconds),
                                  "--precisions", precision, "--dispatch", dispatch])
                program = f"PyTorch {precision}" + (f" {dispatch}" if MODELS[name][5] else "")
                print(f"{'':14} {program:24} {theirs['tokens_per_s']:9.0f} {theirs['peak_memory_gib']:6.2f} "
                      f"{ours['tokens_per_s'] / theirs['tokens_per_s']:14.2f}x", flush=True)


if __name__ == "__main__":
    main()
