"""Makes layers/testdata/families.json, what layers/families_test.go compares with.

    python scripts/families_golden.py [FAMILY…]

Needs torch 1.13 or later and torchvision; the Go tests need neither. For every
family there are the number of parameters and the digest of the state_dict's
names, types and shapes, with 1,000 classes; and of a small copy with drawn
weights, computed in float64, the logits in evaluation and of one training step
the loss and of each gradient g the norm and g·d, where d is drawn as the weights
are. Weights and images are not in the file: a rule of a few lines makes them (see
drawn). With names, only these families are made anew.
"""

import hashlib
import json
import math
import os
import sys
import warnings

import numpy as np
import torch
import torch.nn.functional as F

import families

CLASSES, BATCH = 5, 4
FILE = "layers/testdata/families.json"

# The base of the small copy, where it is not 4, and the size of its images, where
# it is not 64. The nets that differ from another in their depth alone are
# compared in evaluation only.
BASES = {"googlenet": 8, "inception_v3": 2, "convnext_tiny": 6}
SIZES = {"inception_v3": 128}
DEEP = {"resnet101", "resnet152", "resnet44", "resnet56", "resnet110", "wrn_40_2", "resnet32x4"}


# How far gradients of float32 are from those of float64 is measured as often, each
# time with weights that are off by rounding: where a ReLU's input or two of a
# pooling's are as good as equal, it is far. Images are drawn up to so many times
# until they agree so well.
ROUNDINGS, DRAWS, ENOUGH = 6, 6, 3e-5


def drawn(name, n):
    """n numbers in (-1, 1) that follow from a name: odd multiples of 1/2048."""
    h = 2166136261
    for c in name.encode():
        h = (h ^ c) * 16777619 % 2**32
    x = (np.arange(n, dtype=np.uint64) * 0x9E3779B9 + h) & 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ x >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    x = x ^ x >> 16
    return ((x >> 21).astype(np.float64) - 1023.5) / 1024


def value(name, shape):
    """The value of a tensor, in float64 numbers that float32 holds."""
    u = drawn(name, int(np.prod(shape, dtype=np.int64)))
    if name.endswith("layer_scale"):
        u = 0.5 + 0.25 * u
    elif len(shape) > 1:
        u = u * math.sqrt(3 / (u.size // shape[0]))
    elif name.endswith(("running_var", "weight")):
        u = 1 + 0.5 * u
    else:
        u = 0.3 * u
    return u.astype(np.float32).astype(np.float64).reshape(shape)


def load(net):
    with torch.no_grad():
        for name, t in net.state_dict().items():
            if t.is_floating_point():
                t.copy_(torch.from_numpy(value(name, tuple(t.shape))))
    return net


def step(net, x, target):
    """Logits in evaluation, loss and gradients of one training step."""
    with torch.no_grad():
        logits = net.eval()(x)
    net.train()
    loss = F.cross_entropy(net(x), target)
    loss.backward()
    return logits, loss.item(), {k: p.grad.double() for k, p in net.named_parameters()}


def rounded(name, base, seed):
    """The small copy in float32, its weights off by up to half a unit in the last
    place but for the first seed."""
    net = families.still(load(families.build(name, CLASSES, base)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters() if seed else ():
            p.mul_(1 + (torch.rand(p.shape, generator=generator) * 2 - 1) * 2**-23)
    return net


def digest(grads):
    """Norm and product with a drawn direction of each gradient."""
    out = {}
    for k, g in grads.items():
        d = torch.from_numpy(drawn("direction/" + k, g.numel()))
        out[k] = [g.norm().item(), (g.flatten() @ d).item()]
    return out


def golden(name):
    full = families.build(name, 1000)
    out = {
        "family": name,
        "params": sum(p.numel() for p in full.parameters()),
        "state": hashlib.sha256(families.listing(full).encode()).hexdigest(),
        "base": BASES.get(name, 4),
        "size": SIZES.get(name, 64),
    }
    del full
    size, target = out["size"], torch.arange(BATCH) % CLASSES
    best = None
    for draw in range(DRAWS):
        x = torch.from_numpy(drawn(f"image{draw}", BATCH * 3 * size**2)).reshape(BATCH, 3, size, size)
        net = families.still(load(families.build(name, CLASSES, out["base"]).double()))
        logits, loss, grads = step(net, x, target)
        exact = digest(grads)
        largest = max(v[0] for v in exact.values())
        noise = 0.0
        for seed in range(1 if name in DEEP else ROUNDINGS):
            near = digest(step(rounded(name, out["base"], seed), x.float(), target)[2])
            off = [abs(near[k][1] - v[1]) / v[0] for k, v in exact.items() if v[0] > 1e-9 * largest]
            noise = max(noise, *off)
        if best is None or noise < best[0]:
            best = noise, draw, logits, loss, exact
        if noise < ENOUGH or name in DEEP:
            break
    noise, out["image"], logits, loss, exact = best
    out["logits"] = [float(f"{v:.8g}") for v in logits.flatten().tolist()]
    if name not in DEEP:
        out["noise"] = float(f"{noise:.2g}")
        out["loss"] = float(f"{loss:.8g}")
        out["gradients"] = {k: [float(f"{v:.6g}") for v in pair] for k, pair in exact.items()}
    return out


def main(names):
    warnings.filterwarnings("ignore")
    have = {}
    if os.path.exists(FILE):
        with open(FILE) as f:
            have = {g["family"]: g for g in json.load(f)}
    for name in names or families.FAMILIES:
        g = have[name] = golden(name)
        print(name, g["params"], "noise", g.get("noise"), flush=True)
    with open(FILE, "w") as f:
        f.write("[\n")
        f.write(",\n".join(json.dumps(have[n], separators=(",", ":")) for n in families.FAMILIES if n in have))
        f.write("\n]\n")
    print(os.path.getsize(FILE), "bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
