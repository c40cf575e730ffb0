"""Makes distill/prune/testdata/torch_pruning.json and .safetensors, what
distill/prune/golden_test.go compares with: what Torch-Pruning 1.6.1 chooses.

    pip install torch torchvision safetensors torch-pruning==1.6.1
    python scripts/golden_prune.py [FAMILY…]

With names, only these are made anew. Of ten nets of torchvision, made narrow, with weights that engine/random draws, there
are: the groups, as the digest of their members; the importance of every channel under
six criteria; and for three rankings and three ratios the digest of what is cut. One
cut of each net is made, and the parameters, Torch-Pruning's count of multiply-adds
and the logits are kept. The gradients by which Taylor ranks are drawn, too. The Go
tests need none of these programs.
"""

import copy
import hashlib
import json
import sys
import warnings

import numpy as np
import torch
import torch_pruning as tp
from safetensors.numpy import load_file, save_file

import families

warnings.filterwarnings("ignore")
CLASSES, SEED, SIZE, FOLDER = 10, 15, 64, "distill/prune/testdata/"
NETS = {
    "resnet18": 8, "resnet50": 4, "resnext50_32x4d": 32, "mobilenet_v2": 8, "mobilenet_v3_small": 8,
    "densenet121": 8, "vgg11_bn": 4, "googlenet": 8, "regnet_x_400mf": 8, "squeezenet1_1": 8,
}  # fmt: skip
SLOW = {"densenet121"}  # a minute a cut
CRITERIA = {
    "l1": tp.importance.MagnitudeImportance(p=1),
    "l2": tp.importance.MagnitudeImportance(p=2),
    "bn-scale": tp.importance.BNScaleImportance(),
    "fpgm": tp.importance.FPGMImportance(),
    "lamp": tp.importance.LAMPImportance(),
    "taylor": tp.importance.TaylorImportance(),
}
MODES = {"local": (False, False), "global": (True, False), "isomorphic": (True, True)}
RATIOS = [0.3, 0.5, 0.75]
USE_OTHER = 16  # engine/random's


def philox(counter, key):
    """Philox4x32-10 of counters [n, 4] and a key, as random.Philox."""
    m0, m1, w0, w1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k0, k1 = key
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(m0), c[2] * np.uint64(m1)
        c = [(p1 >> half) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> half) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + w0) & 0xFFFFFFFF, (k1 + w1) & 0xFFFFFFFF
    return np.stack(c, 1)


def uniform(epoch, sample, n):
    """n numbers in [0, 1) of the stream random.New(SEED, epoch, sample, UseOther)."""
    blocks = (n + 1) // 2
    counter = np.zeros((blocks, 4), np.uint64)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1], counter[:, 2], counter[:, 3] = sample, epoch, USE_OTHER
    words = philox(counter, (SEED, 0)).reshape(-1, 2)
    u64 = words[:, 0] | words[:, 1] << np.uint64(32)
    return ((u64 >> np.uint64(11)).astype(np.float64) * 2.0**-53)[:n]


def bounds(name, shape):
    if len(shape) > 1:
        a = (3 / int(np.prod(shape[1:]))) ** 0.5
        return -a, a
    if name.endswith(("weight", "running_var")):
        return 0.5, 1.5
    return -0.3, 0.3


def load(net):
    params = dict(net.named_parameters())
    with torch.no_grad():
        for i, (name, t) in enumerate(net.state_dict().items()):
            if not t.is_floating_point():
                continue
            lo, hi = bounds(name, t.shape)
            t.copy_(torch.from_numpy((lo + (hi - lo) * uniform(0, i, t.numel())).astype(np.float32).reshape(t.shape)))
            if name in params:
                g = (-0.01 + 0.02 * uniform(1, i, t.numel())).astype(np.float32).reshape(t.shape)
                params[name].grad = torch.from_numpy(g)
    return net.eval()


def face(dep):
    if isinstance(dep.target.module, torch.nn.BatchNorm2d):
        return "bn"
    if type(dep.handler.__self__).__name__ == "DepthwiseConvPruner":
        return "dw"
    return "out" if "out" in dep.handler.__name__ else "in"


def members(group, names):
    kinds = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d)
    return sorted({names[d.target.module] + ":" + face(d) for d, _ in group if isinstance(d.target.module, kinds)})


def key(list_):
    """The first of the layers that make the channels names a group."""
    return min(m.rsplit(":", 1)[0] for m in list_ if m.endswith((":out", ":dw")))


def digest(lines):
    return hashlib.sha256("".join(line + "\n" for line in sorted(lines)).encode()).hexdigest()[:24]


class Cut:
    """A group of which some channels go, without the walk through the graph."""

    def __init__(self, group, idxs):
        self.group, self.idxs, self.dep = group, idxs, group[0].dep

    def __getitem__(self, i):
        return self

    def __iter__(self):
        return iter(self.group)


def shorten(p, groups):
    """Lets a step choose channels without walking the graph for each group: every
    layer that reads a group has at least its channels, so that whether something is
    left is a question to the layer that makes them."""
    roots = {g[0].dep.target.module: g for g in groups}
    p.DG.get_pruning_group = lambda module, fn, idxs: Cut(roots[module], idxs)
    p.DG.check_pruning_group = lambda c: len(c.idxs) < p.DG.get_out_channels(c.dep.target.module)


def pruner(net, ratio=0.5):
    layers = [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    head = [m for m in layers if m.weight.shape[0] == CLASSES][-1:]
    return tp.pruner.BasePruner(
        net, torch.randn(1, 3, SIZE, SIZE), importance=CRITERIA["l2"], pruning_ratio=ratio, ignored_layers=head,
        in_channel_groups={}, out_channel_groups={},
    )  # fmt: skip


def main(chosen):
    out, tensors = {}, {}
    if chosen:
        out = json.load(open(FOLDER + "torch_pruning.json"))
        tensors = load_file(FOLDER + "torch_pruning.safetensors")
    for family, base in NETS.items():
        if chosen and family not in chosen:
            continue
        net = load(families.build(family, CLASSES, base))
        names = {m: n for n, m in net.named_modules()}
        p = pruner(net)
        groups = list(p.DG.get_all_groups(ignored_layers=p.ignored_layers, root_module_types=p.root_module_types))
        p.DG.get_all_groups = lambda *a, g=groups, **k: iter(g)
        if family in SLOW:
            shorten(p, groups)
        lists = [members(g, names) for g in groups]
        order = sorted(range(len(groups)), key=lambda i: key(lists[i]))
        entry = {"base": base, "groups": len(groups), "members": digest([key(m) + "|" + ",".join(m) for m in lists])}
        entry["cuts"], entry["counts"] = {}, {}
        for crit, imp in CRITERIA.items():
            # torch.cdist in float32 is off by more than 1e-5.
            net.double() if crit == "fpgm" else net.float()
            try:
                scores = [imp(groups[i]) for i in order]
            except RuntimeError:  # FPGM cannot take grouped convolutions
                entry["cuts"][crit] = None
                continue
            scores = [s for s in scores if s is not None]
            entry["cuts"][crit] = {}
            if not scores:
                continue
            tensors[f"{family}/{crit}"] = torch.cat(scores).float().numpy()
            for mode, (p.global_pruning, p.isomorphic) in MODES.items():
                for ratio in RATIOS:
                    p.importance, p.per_step_pruning_ratio = imp, [0.0, ratio]
                    p._scope_initial_channels, p.current_step = {}, 0
                    lines, n = [], 0
                    for g in p.step(interactive=True):
                        idx = sorted(g[0].idxs)
                        if not idx:
                            continue
                        n += len(idx)
                        lines.append(key(members(g, names)) + ":" + ",".join(map(str, idx)))
                    entry["cuts"][crit][f"{mode} {ratio}"] = digest(lines)
                    entry["counts"][f"{crit} {mode} {ratio}"] = n
        # One cut is made, and the net run.
        net.float()
        cut = copy.deepcopy(net)
        pruner(cut, 0.5).step()
        x = torch.from_numpy(uniform(2, 0, 2 * 3 * SIZE * SIZE).astype(np.float32).reshape(2, 3, SIZE, SIZE))
        with torch.no_grad():
            entry["logits"] = [round(float(v), 7) for v in cut(x).flatten()]
        macs, params = tp.utils.count_ops_and_params(cut, x[:1])
        entry["params"], entry["macs"] = int(params), int(macs)
        print(family, len(groups), "groups", entry["params"], "parameters", flush=True)
        out[family] = entry
        with open(FOLDER + "torch_pruning.json", "w") as f:
            json.dump(out, f, indent=1, sort_keys=True)
            f.write("\n")
        save_file(tensors, FOLDER + "torch_pruning.safetensors")


if __name__ == "__main__":
    main(sys.argv[1:])
