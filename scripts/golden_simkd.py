"""Makes distill/testdata/simkd.json, what distill/simkd_test.go compares with: the loss of
SimKD, its gradients with respect to the student and the projector, and the logits that the
teacher's classifier makes of them, in float64, from the reference implementation.

    pip install torch
    python scripts/golden_simkd.py SIMKD

The argument is a checkout of DefangChen/SimKD at 2b389c3. The Go tests do not need it.
"""

import importlib.util
import json
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
spec = importlib.util.spec_from_file_location("util", sys.argv[1] + "/models/util.py")
util = importlib.util.module_from_spec(spec)
spec.loader.exec_module(util)


def numbers(seed, scale, *shape):
    """Multiples of 1/64, which float32 holds."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=g) * scale * 64).round() / 64


class Small(nn.Module):
    """A convolution and a classifier."""

    def __init__(self, width, stride):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride, 1)
        self.fc = nn.Linear(width, 3)

    def features(self, x):
        return F.relu(self.conv(x))


def weights(m, seed):
    """The parameters of a module by name, with values that float32 holds."""
    out = {}
    with torch.no_grad():
        for i, (n, p) in enumerate(m.named_parameters()):
            norm = p.dim() == 1 and n.endswith("weight")
            p.copy_(numbers(seed + i, 0.5, *p.shape) + (1 if norm else 0))
            out[n] = {"shape": list(p.shape), "data": p.flatten().tolist()}
    return out


cases = []
for k, (spec, size, strides) in enumerate([("simkd", 8, (2, 2)), ("simkd:factor=3", 9, (1, 2)), ("simkd:factor=1", 9, (2, 1))]):
    student, teacher = Small(4, strides[0]), Small(6, strides[1])
    factor = int(spec.partition("=")[2] or 2)
    simkd = util.SimKD(s_n=4, t_n=6, factor=factor).train()
    named = [weights(m, 100 * k + 30 * i) for i, m in enumerate((student, teacher, simkd))]
    x = numbers(100 * k + 99, 1, 5, 3, size, size)
    s, t, logits = simkd(student.features(x), teacher.features(x).detach(), teacher.fc)
    value = nn.MSELoss()(s, t)
    trained = {"conv.weight": student.conv.weight, "conv.bias": student.conv.bias, **dict(simkd.named_parameters())}
    gradients = torch.autograd.grad(value, list(trained.values()))
    cases.append({"spec": spec, "strides": strides, "image": x.permute(0, 2, 3, 1).flatten().tolist(), "shape": [5, size, size, 3],
                  "student": named[0], "teacher": named[1], "projector": named[2], "value": value.item(),
                  "logits": logits.flatten().tolist(), "gradients": {n: g.flatten().tolist() for n, g in zip(trained, gradients)}})


def short(x):
    if isinstance(x, float):
        return float(f"{x:.13g}")
    if isinstance(x, (list, tuple)):
        return [short(v) for v in x]
    if isinstance(x, dict):
        return {n: short(v) for n, v in x.items()}
    return x


with open("distill/testdata/simkd.json", "w") as f:
    json.dump({"torch": torch.__version__, "cases": short(cases)}, f, separators=(",", ":"))
    f.write("\n")
