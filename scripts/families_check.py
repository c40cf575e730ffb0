"""Holds full-size families to PyTorch and ONNX Runtime: see families_check.sh.

    families_check.py PROGRAM DIR [FAMILY…]

For each family a net with PyTorch's initial weights and statistics of a batch is
saved as NAME.pth, PROGRAM (scripts/families_check) computes on it, and this
compares:

  logits     the largest difference from PyTorch's float64, over the largest logit:
             at most 1e-4, or twice that of PyTorch's float32, where a hundred layers
             of random weights make more of rounding than that
  gradients  the distance of all of them from float64's, over their norm: at most
             twice that of PyTorch's float32. Where a ReLU's argument is as good as
             zero, or two of a max pool's as good as equal, rounding decides, and the
             gradients jump; so each is compared with the float64 gradients of a net
             that decides as it did, and "flips" counts where that is not as float64
             decides by itself
  start      mean, standard deviation, kurtosis and largest magnitude of each
             tensor of 500 values or more as training begins with it
  onnx       the largest difference of ONNX Runtime's logits from float64's, as above:
             at most 1e-4, or no more than ONNX Runtime's of PyTorch's own export
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
JUMP = 1e-3  # between slopes of one piece and those of two
NEAR = 0.1  # of the largest, between tensors that are one but for rounding
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


def slope(f, x):
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(f(x).sum(), x)[0]


class Pieces(torch.autograd.Function):
    """An activation of pieces, with the slope of the piece in which `at` is."""

    @staticmethod
    def forward(ctx, x, at, f):
        here, there = slope(f, x), slope(f, at)
        ctx.save_for_backward(torch.where((here - there).abs() > JUMP, there, here))
        return f(x.detach())

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0], None, None


class Decisions:
    """While it lasts, max pools and activations whose slope jumps note their
    arguments; or, given those of another run, decide as that run did."""

    PIECES = ("relu", "relu6", "hardtanh", "hardswish", "hardsigmoid")

    def __init__(self, given=None):
        self.given = None if given is None else list(given)
        self.noted, self.flips = [], 0
        self.own = {name: getattr(F, name) for name in (*self.PIECES, "max_pool2d")}

    def __enter__(self):
        for name in self.PIECES:
            setattr(F, name, lambda x, *args, name=name, inplace=False: self.activation(name, x, args))
        F.max_pool2d = self.pool
        return self

    def __exit__(self, *_):
        for name, f in self.own.items():
            setattr(F, name, f)

    def take(self, x):
        """The tensor of the other run that is x but for rounding: the nearest of its
        shape, if it is near and the second is much further away. In a hundred layers
        rounding grows beyond a thousandth."""
        near = sorted(((at - x).abs().max().item(), i) for i, at in enumerate(self.given) if at.shape == x.shape)
        if not near or near[0][0] > NEAR * x.abs().max() or len(near) > 1 and near[0][0] > near[1][0] / 4:
            raise ValueError(f"the other run has no argument of an activation or pool like that of {tuple(x.shape)}: {near[:2]}")
        return self.given.pop(near[0][1]).to(x.dtype)

    def activation(self, name, x, args):
        bounds = [a for a in args if not isinstance(a, bool)]  # and not whether it works in place
        f = lambda v: self.own[name](v, *bounds)
        if self.given is None:
            self.noted.append(x.detach())
            return f(x)
        y = Pieces.apply(x, at := self.take(x.detach()), f)
        self.flips += (slope(f, x) - slope(f, at)).abs().gt(JUMP).sum().item()
        return y

    def pool(self, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        args = (kernel_size, stride, padding, dilation, ceil_mode)
        if self.given is None:
            self.noted.append(x.detach())
            return self.own["max_pool2d"](x, *args)
        _, mine = self.own["max_pool2d"](x.detach(), *args, True)
        y, theirs = self.own["max_pool2d"](self.take(x.detach()), *args, True)
        self.flips += (mine != theirs).sum().item()
        return x.flatten(2).gather(2, theirs.flatten(2)).view(y.shape)


def gradients(net, x, given=None):
    """The gradients of one training step, and its decisions."""
    net = copy.deepcopy(net).train()
    with Decisions(given) as decisions:
        F.cross_entropy(net(x), torch.arange(BATCH)).backward()
    return {k: p.grad.double() for k, p in net.named_parameters()}, decisions


def apart(grads, net64, x64, noted):
    """The distance of gradients from float64's with the same decisions, over the
    norm of these, and how many of the decisions are not float64's own."""
    exact, decisions = gradients(net64, x64, noted)
    square = sum(((grads[k].double() - exact[k]) ** 2).sum().item() for k in exact)
    return (square / sum((exact[k] ** 2).sum().item() for k in exact)) ** 0.5, decisions.flips


def nchw(t):
    return t.permute(0, 3, 1, 2) if t.dim() == 4 else t


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


def their_export(net, x, logits64, path):
    """The largest difference of ONNX Runtime's logits of PyTorch's own export."""
    torch.onnx.export(copy.deepcopy(net).eval(), (x,), f"{path}.onnx", input_names=["images"], dynamo=False)
    session = ort.InferenceSession(f"{path}.onnx", providers=["CPUExecutionProvider"])
    return np.abs(session.run(None, {"images": x.numpy()})[0] - logits64).max()


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
    net64, x64 = copy.deepcopy(net).double(), x.double()
    with torch.no_grad():
        logits64 = copy.deepcopy(net64).eval()(x64)
        logits32 = copy.deepcopy(net).eval()(x)
    largest = logits64.abs().max().item()
    logits = (ours["logits"].double() - logits64).abs().max().item() / largest
    their_logits = (logits32.double() - logits64).abs().max().item() / largest
    grads32, decisions = gradients(net, x)
    there, their_flips = apart(grads32, net64, x64, decisions.noted)
    del grads32, decisions
    noted = [nchw(t) for k, t in sorted(ours.items()) if k.startswith("decision/")]
    here, flips = apart({k: ours["grad/" + k] for k, _ in net.named_parameters()}, net64, x64, noted)
    with open(f"{path}.json") as f:
        bad = start_differs(json.load(f), fresh)
    session = ort.InferenceSession(f"{path}.onnx", providers=["CPUExecutionProvider"])
    ran = session.run(["logits"], {"images": x.numpy()})[0]
    exported = np.abs(ran - logits64.numpy()).max() / largest
    theirs = LOGITS if exported <= LOGITS else their_export(net, x, logits64.numpy(), path) / largest
    params = sum(p.numel() for p in net.parameters())
    fine = logits <= max(LOGITS, 2 * their_logits) and here <= 2 * there and exported <= max(LOGITS, theirs) and not bad
    print(
        f"{name:20} {params:>11,} {size:>4} {logits:>9.1e} {here:>9.1e} {there:>9.1e} {flips:>5} {their_flips:>7} {exported:>9.1e}"
        f"  {'ok' if fine else 'FAILED'}",
        flush=True,
    )
    if logits > LOGITS:
        print(f"  the logits of PyTorch's float32 are {their_logits:.1e} from float64's")
    if exported > LOGITS:
        print(f"  ONNX Runtime's logits of PyTorch's own export are {theirs:.1e} from float64's")
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
    print(f"{'family':20} {'parameters':>11} {'size':>4} {'logits':>9} {'gradients':>9} {'PyTorch':>9} {'flips':>5} {'PyTorch':>7} {'onnx':>9}")
    failed = [n for n in names or families.FAMILIES if not check(program, folder, n)]
    if failed:
        sys.exit("failed: " + ", ".join(failed))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
