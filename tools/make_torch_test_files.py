#!/usr/bin/env python3
"""Writes tests/data/torch: small torch checkpoints with every layout, dtype and oddity that the reader must handle, and
models of Hugging Face as their releases before safetensors wrote them.

Needs torch (2.x) and safetensors. Usage: tools/make_torch_test_files.py [tests/data]
The values are simple functions of the index, which tests/unit/io/torch_file_test.cpp repeats.
"""
import argparse
import collections
import json
import os
import sys
import types

import torch
from safetensors.torch import load_file

data = sys.argv[1] if len(sys.argv) > 1 else "tests/data"
out = os.path.join(data, "torch")
os.makedirs(out, exist_ok=True)


def class_in(module, name):
    """A class that pickles under another module's name, with its attributes as state."""
    parts = module.split(".")
    for i in range(len(parts)):
        path = ".".join(parts[: i + 1])
        if path not in sys.modules:
            sys.modules[path] = types.ModuleType(path)
    made = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def with_state(cls, **state):
    made = cls.__new__(cls)
    made.__dict__.update(state)
    return made


base = torch.arange(24, dtype=torch.float32) / 8
tensors = collections.OrderedDict(
    plain=base.clone().view(4, 6),
    transposed=base.clone().view(4, 6).t(),
    slice=base.clone().view(4, 6)[1:3, 2:5],
    expanded=torch.tensor([1.0, 2.0, 3.0]).view(3, 1).expand(3, 4),
    permuted=base.clone().view(2, 3, 4).permute(2, 0, 1),
    half=(base - 1).half(),
    bf16=(base - 1).bfloat16(),
    double=base.double() / 3,
    long=torch.arange(5),
    int=torch.arange(5, dtype=torch.int32),
    bool=torch.tensor([True, False]),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
    parameter=torch.nn.Parameter(base[:4].clone()),
)
shared = base.clone()
tensors["tied_a"] = shared
tensors["tied_b"] = shared[6:]
torch.save({"model": tensors}, os.path.join(out, "layouts.pt"))
torch.save({"model": tensors}, os.path.join(out, "layouts-protocol4.pt"), pickle_protocol=4)


class Attack:
    """What a malicious checkpoint does: a call on loading."""

    def __reduce__(self):
        return (os.system, ("touch pickle-was-executed",))


other = class_in("somewhere.meters", "Meter")
torch.save(
    {"attack": Attack(), "meter": with_state(other, total=3, history=[1, 2]), "model": {"weight": base[:3].clone()}},
    os.path.join(out, "malicious.pt"),
)

# An old checkpoint: half precision, `args` a Namespace, no `cfg`, no stored output projection.
model = torch.load(os.path.join(data, "golden/fairseq-small/dense-learned/model.pt"), weights_only=False)
settings = {k: v for k, v in model["cfg"]["model"].items() if k != "_name"}
settings.update(arch=model["cfg"]["model"]["_name"], criterion="cross_entropy")
halves = collections.OrderedDict(
    (name, tensor.half()) for name, tensor in model["model"].items() if name != "decoder.output_projection.weight"
)
old = {"args": argparse.Namespace(**settings), "model": halves, "optimizer_history": [], "extra_state": {}}
torch.save(old, os.path.join(out, "dense-half-args.pt"))

# The same settings as omegaconf would pickle them: DictConfig._content of nodes with _val.
dict_config = class_in("omegaconf.dictconfig", "DictConfig")
node = class_in("omegaconf.nodes", "AnyNode")
content = {k: with_state(node, _metadata=None, _parent=None, _val=v) for k, v in model["cfg"]["model"].items()}
cfg = {"model": with_state(dict_config, _metadata=None, _content=content)}
torch.save({"args": None, "cfg": with_state(dict_config, _content=cfg), "model": halves}, os.path.join(out, "dense-half-omegaconf.pt"))

# pytorch_model.bin. gpt2 in two shards: a tensor that lies across, a mask that is computed, an output matrix that is the
# embedding; qwen3 in one file in bf16.
folder = os.path.join(out, "gpt2")
os.makedirs(folder, exist_ok=True)
gpt2 = load_file(os.path.join(data, "golden/hf-small/gpt2/model.safetensors"))
across = "transformer.wte.weight"
gpt2[across] = gpt2[across].t().contiguous().t()
gpt2["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
gpt2["lm_head.weight"] = gpt2["transformer.wte.weight"]
names = sorted(gpt2)
shards = {"pytorch_model-00001-of-00002.bin": names[: len(names) // 2], "pytorch_model-00002-of-00002.bin": names[len(names) // 2 :]}
for file, part in shards.items():
    torch.save(collections.OrderedDict((name, gpt2[name]) for name in part), os.path.join(folder, file))
index = {"metadata": {"total_size": 0}, "weight_map": {name: file for file, part in shards.items() for name in part}}
with open(os.path.join(folder, "pytorch_model.bin.index.json"), "w") as file:
    json.dump(index, file, indent=1)
folder = os.path.join(out, "qwen3")
os.makedirs(folder, exist_ok=True)
qwen3 = load_file(os.path.join(data, "golden/hf-small/qwen3/model.safetensors"))
torch.save({name: tensor.bfloat16() for name, tensor in qwen3.items()}, os.path.join(folder, "pytorch_model.bin"))
