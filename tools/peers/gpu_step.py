#!/usr/bin/env python3
"""Training steps of the models of `troupe bench step` in PyTorch on a GPU, as fast as plain PyTorch makes them.

    python3 tools/peers/gpu_step.py dense-12x768 moe8-12x768 --micro 16 --json

What is done: every kind of block compiled once (torch.compile, no autotuning); scaled_dot_product_attention by cuDNN,
else flash; weights as bf16 copies of float32 masters, gradients accumulated in float32, fused AdamW; the residual stream
in float32, as Troupe has it (--residual bf16: as the fastest of others have it); the output loss in compiled blocks of
8,192 tokens, its vocabulary filled up to a multiple of 64, as products want it; top-2 experts in every second layer by
sorting the rows and torch._grouped_mm, the host never waiting. Left out, to PyTorch's good: positions, biases of experts,
the balance loss, the norm of the gradient. FLOPs are counted as Troupe counts them (src/model/flops.h).
"""
import argparse
import contextlib
import json
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

H100_BF16_FLOPS = 989e12  # what mfu is of, whatever the card
LOSS_ROWS = 8192
MODELS = {  # layers, width, heads, vocabulary, experts: as in src/cli/bench_step.cpp
    "dense-12x768": (12, 768, 12, 50257, 0),
    "dense-24x1024": (24, 1024, 16, 50257, 0),
    "dense-24x2048": (24, 2048, 32, 50257, 0),
    "moe8-12x768": (12, 768, 12, 50257, 8),
    "moe8-24x1024": (24, 1024, 16, 50257, 8),
    "moe8-24x2048": (24, 2048, 32, 50257, 8),
    "moe64-12x768": (12, 768, 12, 50257, 64),
    "dense-6x256": (6, 256, 4, 8192, 0),
    "moe16-6x256": (6, 256, 4, 8192, 16),
}


class Spread(torch.autograd.Function):
    """Rows of x by `order`, every row twice; on the way back the two gradients of a row are added, without atomics."""

    @staticmethod
    def forward(ctx, x, order, place):
        ctx.save_for_backward(place)
        return x[order // 2]

    @staticmethod
    def backward(ctx, dy):
        (place,) = ctx.saved_tensors
        return dy[place].view(-1, 2, dy.shape[-1]).sum(1), None, None


class Permute(torch.autograd.Function):
    """x[place]; `order` is its inverse."""

    @staticmethod
    def forward(ctx, x, order, place):
        ctx.save_for_backward(order)
        return x[place]

    @staticmethod
    def backward(ctx, dy):
        (order,) = ctx.saved_tensors
        return dy[order], None, None


class Ffn(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Experts(nn.Module):
    def __init__(self, width, experts):
        super().__init__()
        self.experts = experts
        self.gate = nn.Parameter(torch.randn(experts, width) * width**-0.5)
        self.w1 = nn.Parameter(torch.randn(experts, width, 4 * width) * width**-0.5)
        self.w2 = nn.Parameter(torch.randn(experts, 4 * width, width) * (4 * width) ** -0.5)

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        prob = F.softmax(x.float() @ self.gate.float().t(), dim=-1)
        weight, choice = prob.topk(2, dim=-1)
        weight = weight / weight.sum(-1, keepdim=True)
        expert, order = choice.flatten().sort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=x.device))
        numbers = torch.arange(self.experts, device=x.device)
        ends = torch.searchsorted(expert, numbers, right=True).to(torch.int32)
        rows = Spread.apply(x, order, place)
        rows = torch._grouped_mm(F.gelu(torch._grouped_mm(rows, self.w1, ends)), self.w2, ends)
        rows = Permute.apply(rows, order, place).view(-1, 2, shape[-1])
        return (rows * weight.unsqueeze(-1)).sum(1).view(shape)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def norm(self, norm, x):
        return F.layer_norm(x.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float()).to(torch.bfloat16)

    def forward(self, x):
        B, S, D = x.shape
        q, k, v = self.qkv(self.norm(self.norm1, x)).view(B, S, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(context.transpose(1, 2).reshape(B, S, D)).to(x.dtype)
        return x + self.ffn(self.norm(self.norm2, x)).to(x.dtype)


class DenseBlock(Block):  # a class of its own for each kind, so that each is compiled once
    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.ffn = Ffn(width)


class MoeBlock(Block):
    def __init__(self, width, heads, experts):
        super().__init__(width, heads)
        self.ffn = Experts(width, experts)


def loss_of_rows(h, embed, targets):
    return F.cross_entropy(F.linear(h, embed).float(), targets, reduction="sum")


class Decoder(nn.Module):
    def __init__(self, layers, width, heads, vocab, experts):
        super().__init__()
        self.embed = nn.Parameter(torch.randn((vocab + 63) // 64 * 64, width) * width**-0.5)
        self.layers = nn.ModuleList(
            MoeBlock(width, heads, experts) if experts and i % 2 else DenseBlock(width, heads) for i in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, residual):
        x = F.embedding(tokens, self.embed).to(residual) * self.embed.shape[1] ** 0.5
        for layer in self.layers:
            x = layer(x)
        return F.layer_norm(x.float(), self.norm.normalized_shape, self.norm.weight.float(),
                            self.norm.bias.float()).to(torch.bfloat16)


class Training:
    """A model in bf16, its masters, gradients and moments in float32."""

    def __init__(self, sizes, options):
        self.options, self.vocab, self.loss_of_rows = options, sizes[3], loss_of_rows
        with torch.device(options.device):
            torch.manual_seed(1)
            self.model = Decoder(*sizes)
        self.params = list(self.model.parameters())
        self.masters = [nn.Parameter(p.detach().clone()) for p in self.params]
        self.model.to(torch.bfloat16)
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        self.of_embed = self.masters[[p is self.model.embed for p in self.params].index(True)]
        self.optimizer = torch.optim.AdamW(self.masters, lr=1e-4, fused=True)
        if options.backend != "eager":
            for layer in self.model.layers:
                layer.compile(backend=options.backend, fullgraph=True, dynamic=False)
            self.loss_of_rows = torch.compile(loss_of_rows, backend=options.backend, fullgraph=True, dynamic=False)

    def micro_batch(self, scale):
        o = self.options
        tokens = torch.randint(self.vocab, (o.micro, o.context + 1), device=o.device)
        h = self.model(tokens[:, :-1].contiguous(), torch.float32 if o.residual == "fp32" else torch.bfloat16)
        rows, targets = h.detach().view(-1, h.shape[-1]), tokens[:, 1:].reshape(-1)
        loss, dh = 0.0, torch.empty_like(rows)
        for begin in range(0, len(rows), LOSS_ROWS):
            part = rows[begin:begin + LOSS_ROWS].clone().requires_grad_()
            part_loss = self.loss_of_rows(part, self.model.embed, targets[begin:begin + LOSS_ROWS]) * scale
            part_loss.backward()
            dh[begin:begin + LOSS_ROWS] = part.grad
            self.of_embed.grad.add_(self.model.embed.grad)
            self.model.embed.grad = None
            loss = loss + part_loss.detach()
        h.backward(dh.view(h.shape))
        for param, master in zip(self.params, self.masters):
            master.grad.add_(param.grad)
            param.grad = None
        return loss

    def step(self):
        o = self.options
        torch._foreach_zero_([master.grad for master in self.masters])
        loss = sum(self.micro_batch(1.0 / (o.sequences * o.context)) for _ in range(o.sequences // o.micro))
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.params, self.masters)
        return float(loss)  # waits


def flops_per_token(sizes, context):
    layers, width, _, vocab, experts = sizes
    ffn = 16.0 * width**2 * (layers + (layers // 2 if experts else 0))  # top-2 in every second layer
    return 3 * (8.0 * layers * width**2 + 4.0 * layers * context * width + ffn + 2.0 * width * vocab)


def measure(name, options):
    sizes = MODELS[name]
    attention = contextlib.nullcontext()
    if options.device == "cuda":
        order = {"cudnn": [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION],
                 "flash": [SDPBackend.FLASH_ATTENTION]}[options.attention]
        attention = sdpa_kernel(order, set_priority=True)
        torch.cuda.reset_peak_memory_stats()
    with attention:
        begin = time.time()
        training = Training(sizes, options)
        training.step()
        compile_seconds = time.time() - begin
        rates, begin, loss = [], time.time(), 0.0
        while len(rates) < 2 or time.time() - begin < options.seconds:
            start = time.time()
            loss = training.step()
            rates.append(options.sequences * options.context / (time.time() - start))
    rate = statistics.median(rates)
    return {"program": "pytorch", "name": name, "torch": torch.__version__,
            "shape": f"{options.sequences} x {options.context} tokens, {options.micro} at a time, bf16",
            "tokens_per_s": rate, "mfu": rate * flops_per_token(sizes, options.context) / H100_BF16_FLOPS,
            "memory_bytes": torch.cuda.max_memory_allocated() if options.device == "cuda" else 0,
            "repetitions": len(rates), "first_step_s": compile_seconds, "loss": loss, "residual": options.residual,
            "attention": options.attention}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=list(MODELS), metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--context", type=int, default=2048, help="positions of a sequence (2048)")
    parser.add_argument("--sequences", type=int, default=128, help="of an update (128)")
    parser.add_argument("--micro", type=int, default=16, help="sequences at a time (16)")
    parser.add_argument("--seconds", type=float, default=5, help="per model after its first step, at least two steps (5)")
    parser.add_argument("--residual", choices=["fp32", "bf16"], default="fp32", help="the residual stream (fp32)")
    parser.add_argument("--attention", choices=["cudnn", "flash"], default="cudnn", help="which goes first (cudnn)")
    parser.add_argument("--backend", default="inductor", help="of torch.compile; eager: none (inductor)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if options.sequences % options.micro:
        parser.error(f"--sequences: expected a multiple of --micro ({options.micro}), got {options.sequences}")
    for name in options.models:
        row = measure(name, options)
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            print(f"{name:14} {row['tokens_per_s']:9.0f} tokens/s, mfu {row['mfu']:.3f}, "
                  f"{row['memory_bytes'] / 2**30:.1f} GiB, first step {row['first_step_s']:.0f} s, loss {row['loss']:.3f}; "
                  f"torch {row['torch']}, {row['shape']}", flush=True)
        if options.device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
