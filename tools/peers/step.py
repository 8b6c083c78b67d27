#!/usr/bin/env python3
"""Training steps of the models of `troupe bench step` in PyTorch and in Troupe, in turn, in one run.

    pip install torch        # whatever version is there is used and named
    python3 tools/peers/step.py --troupe build/release/src/cli/troupe dense-6x256 moe16-6x256

The PyTorch model has the same architecture (pre-LN, tied output, sinusoidal positions left out, biases) with fused
scaled_dot_product_attention, bf16 autocast and fused AdamW where the version has it; its MoE layer sorts rows by expert
and runs each expert on its rows (a sparse dispatch).
"""
import argparse
import json
import statistics
import subprocess
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

MODELS = {  # layers, width, heads, vocabulary, context, experts, sequences, micro-batch: as in src/cli/bench_step.cpp
    "dense-12x768": (12, 768, 12, 50257, 1024, 0, 8, 4),
    "moe8-12x768": (12, 768, 12, 50257, 1024, 8, 16, 4),
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
    def __init__(self, width, experts):
        super().__init__()
        self.gate = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(Ffn(width) for _ in range(experts))

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        with torch.autocast("cpu", enabled=False):
            prob = F.softmax(self.gate(x.float()), dim=-1)
        weight, choice = prob.topk(2, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        out = torch.zeros_like(x, dtype=torch.float32)
        for number, expert in enumerate(self.experts):
            token, rank = (choice == number).nonzero(as_tuple=True)
            if len(token):
                out = out.index_add(0, token, weight[token, rank, None] * expert(x[token]).float())
        return out.reshape(shape)


class Layer(nn.Module):
    def __init__(self, width, heads, experts):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ffn = Moe(width, experts) if experts else Ffn(width)

    def forward(self, x):
        B, S, D = x.shape
        q, k, v = (t.reshape(B, S, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(context.transpose(1, 2).reshape(B, S, D))
        return x + self.ffn(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, layers, width, heads, vocab, experts):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.layers = nn.ModuleList(Layer(width, heads, experts if i % 2 else 0) for i in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.embed(tokens) * self.embed.embedding_dim**0.5
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(F.linear(self.norm(x), self.embed.weight).flatten(0, 1), targets.flatten())


def torch_rate(name, seconds):
    layers, width, heads, vocab, context, experts, sequences, micro = MODELS[name]
    torch.manual_seed(1)
    model = Decoder(layers, width, heads, vocab, experts)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    except (RuntimeError, TypeError):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rates, begin = [], None
    while begin is None or time.time() - begin < seconds:
        start = time.time()
        optimizer.zero_grad()
        for _ in range(sequences // micro):
            tokens = torch.randint(vocab, (micro, context + 1))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(tokens[:, :-1], tokens[:, 1:])
            loss.backward()
        optimizer.step()
        if begin is None:
            begin = time.time()  # the first step is not counted
        else:
            rates.append(sequences * context / (time.time() - start))
    return statistics.median(rates)


def troupe_rate(program, name, seconds):
    run = subprocess.run([program, "bench", "step", name, "--seconds", str(seconds), "--json"], check=True,
                         capture_output=True, text=True)
    text = next(line for line in run.stderr.splitlines() if line.startswith(name + ":"))
    return float(text.split()[1]), json.loads(run.stdout)["ratio_to_peak"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["dense-6x256", "moe16-6x256"], help=", ".join(MODELS))
    parser.add_argument("--troupe", required=True, help="the troupe program")
    parser.add_argument("--seconds", type=float, default=10, help="per program and model")
    args = parser.parse_args()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, bf16; tokens/s, median of steps")
    print(f"{'model':14} {'Troupe':>9} {'PyTorch':>9} {'ratio':>6} {'of peak':>8}")
    for name in args.models:
        ours, ratio = troupe_rate(args.troupe, name, args.seconds)
        theirs = torch_rate(name, args.seconds)
        print(f"{name:14} {ours:9.0f} {theirs:9.0f} {ours / theirs:6.2f} {ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()
