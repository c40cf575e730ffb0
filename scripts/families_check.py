"""Holds full-size families to PyTorch and ONNX Runtime: see families_check.sh.

    families_check.py PROGRAM DIR [FAMILY…]

For each family a net with PyTorch's initial weights and statistics of a batch is
saved as NAME.pth, PROGRAM (scripts/families_check) computes on it, and this
compares:

  logits     the largest difference from PyTorch's float64, over the largest logit:
             at most 1e-4
  gradients  the distance of all of them from float64's, over their norm: at most
             twice that of PyTorch's float32. Where a ReLU's input or two of a
             pooling's are as good as equal, rounding decides, and the distance
             jumps; so, if it is more, PyTorch is asked three times more with weights
             that are off by up to half a unit in the last place
  start      mean, standard deviation, kurtosis and largest magnitude of each
             tensor of 500 values or more as training begins with it
  onnx       the largest difference of ONNX Runtime's logits, as above
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import families

BATCH, CLASSES = 2, 1000
LOGITS = 1e-4
SIZES = {}  # of the images, where it is not that of families.py


def lively(net, size):
    """Factors, shifts and statistics as a net has them that has learned."""
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum, m.keep = 1.0, m.momentum
                m.weight.uniform_(0.5, 1.5)
                m.bias.uniform_(-0.2, 0.2)
        net.train()(torch.rand(4, 3, size, size) * 2 - 1)
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = m.keep
    return net


def results(net, x):
    """Logits in evaluation and the gradients of one training step."""
    net.zero_grad()
    with torch.no_grad():
        logits = net.eval()(x).double()
    F.cross_entropy(net.train()(x), torch.arange(BATCH)).backward()
    return logits, {k: p.grad.double() for k, p in net.named_parameters()}


def apart(a, b):
    """The distance of gradients from b, over the norm of b."""
    square = sum(((a[k].double() - b[k]) ** 2).sum().item() for k in b)
    return (square / sum((b[k] ** 2).sum().item() for k in b)) ** 0.5


def rounded(net):
    """The net with weights off by up to half a unit in the last place."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1 + (torch.rand(p.shape) * 2 - 1) * 2**-23)
    return net


def moments(t):
    t = t.detach().double().flatten()
    if t.abs().max() == 2:  # where PyTorch 1.13's trunc_normal_ puts a stray value
        t = t[t.abs() < 2]
    d = t - t.mean()
    v = (d**2).mean().item()
    return [t.mean().item(), v**0.5, (d**4).mean().item() / v**2 if v > 0 else 0.0, t.abs().max().item(), len(t)]


def start_differs(ours, theirs):
    """The tensors that do not start from the same distribution, as far as samples
    of it tell: within six standard errors."""
    bad = []
    for name, (mean, std, kurtosis, most, n) in theirs.items():
        m, s, k, top = ours[name]
        if std == 0 or s == 0:
            same = std == s and abs(mean - m) < 1e-6 * max(abs(mean), 1e-30)
        else:
            error = std / n**0.5
            same = abs(m - mean) < 6 * 2**0.5 * error and abs(s / std - 1) < 6 / n**0.5
            if n >= 500:
                same = same and abs(k - kurtosis) < 6 * (48 / n) ** 0.5 and (k > 2.3 or abs(top / most - 1) < 20 / n)
        if not same:
            bad.append(f"{name}: mean {m:.3g} and {mean:.3g}, std {s:.4g} and {std:.4g}, kurtosis {k:.3g} and {kurtosis:.3g}")
    return bad


def check(program, folder, name):
    torch.manual_seed(1)
    size = SIZES.get(name, families.FAMILIES[name][2])
    net = families.still(families.build(name, CLASSES))
    fresh = {k: moments(t) for k, t in net.state_dict().items() if t.is_floating_point()}
    net = lively(net, size)
    path = folder / name
    torch.save(net.state_dict(), f"{path}.pth")
    x = torch.rand(BATCH, 3, size, size) * 2 - 1
    save_file({"images": x}, f"{path}.safetensors")
    ran = subprocess.run([program, folder, name], capture_output=True, text=True)
    print(ran.stdout + ran.stderr, end="")
    if ran.returncode:
        return False

    ours = load_file(f"{path}.ours.safetensors")
    _, grads32 = results(copy.deepcopy(net), x)
    logits64, grads64 = results(copy.deepcopy(net).double(), x.double())
    largest = logits64.abs().max().item()
    logits = (ours["logits"].double() - logits64).abs().max().item() / largest
    here = apart({k: ours["grad/" + k] for k in grads64}, grads64)
    there = apart(grads32, grads64)
    for _ in range(3):
        if here > 2 * there:
            there = max(there, apart(results(rounded(net), x)[1], grads64))
    with open(f"{path}.json") as f:
        bad = start_differs(json.load(f), fresh)
    session = ort.InferenceSession(f"{path}.onnx", providers=["CPUExecutionProvider"])
    ran = session.run(["logits"], {"images": x.numpy()})[0]
    exported = np.abs(ran - ours["logits"].numpy()).max() / largest
    params = sum(p.numel() for p in net.parameters())
    fine = logits <= LOGITS and here <= 2 * there and exported <= LOGITS and not bad
    print(
        f"{name:20} {params:>11,} {size:>4} {logits:>9.1e} {here:>9.1e} {there:>9.1e} {exported:>9.1e}"
        f"  {'ok' if fine else 'FAILED'}",
        flush=True,
    )
    for line in bad[:5]:
        print("  start of", line)
    for end in (".pth", ".safetensors", ".ours.safetensors", ".onnx", ".json"):
        os.remove(f"{path}{end}")
    return fine


def main(program, folder, names):
    warnings.filterwarnings("ignore")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"PyTorch {torch.__version__}, ONNX Runtime {ort.__version__}")
    print(f"{'family':20} {'parameters':>11} {'size':>4} {'logits':>9} {'gradients':>9} {'PyTorch':>9} {'onnx':>9}")
    failed = [n for n in names or families.FAMILIES if not check(program, folder, n)]
    if failed:
        sys.exit("failed: " + ", ".join(failed))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
