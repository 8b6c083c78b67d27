#!/usr/bin/env python3
"""Writes tests/data/torch/*.pt: small torch checkpoints with every layout, dtype and oddity that the reader must handle.

Needs torch (2.x). Usage: tools/make_torch_test_files.py [tests/data]
The values are simple functions of the index, which tests/unit/io/torch_file_test.cpp repeats.
"""
import argparse
import collections
import os
import sys
import types

import torch

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
