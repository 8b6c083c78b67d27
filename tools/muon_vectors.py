#!/usr/bin/env python3
"""Writes tests/data/torch/muon.safetensors: three updates of random matrices by torch.optim.Muon.

    muon_vectors.py OUT            (needs torch >= 2.9 and safetensors)

CASE.p, CASE.g0..2 are inputs in float32; CASE.p64 and CASE.m64 are the parameters and momentum after three updates in
float64 (the same code with its rounding to bfloat16 taken out), CASE.p16 the parameters as torch computes them.
"""
import sys

import torch
from safetensors.torch import save_file

CASES = {  # rows, cols, nesterov
    'square': (12, 12, True),
    'tall': (20, 8, True),
    'wide': (8, 20, True),
    'heavy_ball': (9, 10, False),
}
SETTINGS = dict(lr=0.02, weight_decay=0.1, momentum=0.95)
UPDATES = 3


def updated(start, gradients, nesterov):
    p = torch.nn.Parameter(start.clone())
    muon = torch.optim.Muon([p], nesterov=nesterov, **SETTINGS)
    for g in gradients:
        p.grad = g.to(p.dtype)
        muon.step()
    return p.detach(), muon.state[p]['momentum_buffer']


def main():
    torch.manual_seed(1)
    out = {}
    rounded = torch.Tensor.bfloat16
    for name, (rows, cols, nesterov) in CASES.items():
        p = 0.1 * torch.randn(rows, cols)
        # Some directions are far weaker than others, as in gradients.
        gradients = [torch.randn(rows, cols) * torch.logspace(0, -2, cols) for _ in range(UPDATES)]
        out[name + '.p16'], _ = updated(p, gradients, nesterov)
        torch.Tensor.bfloat16 = lambda x: x.clone()
        out[name + '.p64'], out[name + '.m64'] = updated(p.double(), gradients, nesterov)
        torch.Tensor.bfloat16 = rounded
        out[name + '.p'] = p
        for i, g in enumerate(gradients):
            out[f'{name}.g{i}'] = g
        apart = (out[name + '.p16'] - out[name + '.p64']).abs().max().item()
        print(f'{name}: {apart / SETTINGS["lr"]:.4f} of the rate between bfloat16 and float64')
    save_file(out, sys.argv[1], metadata={'torch': torch.__version__})


main()
