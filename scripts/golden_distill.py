"""Makes distill/testdata/golden.json, what distill/golden_test.go compares with: the
values of losses and their gradients with respect to the student, in float64, from the
reference implementations.

    pip install torch numpy
    python scripts/golden_distill.py MDISTILLER DIST_KD LOGIT_STANDARDIZATION REPDISTILLER

The arguments are checkouts of megvii-research/mdistiller at a08d46f, hunto/DIST_KD at
2418f18, sunshangquan/logit-standardization-KD at f6e5aa5 and HobbitLong/RepDistiller at b84f547. Of several teachers there is
no such function: the weights are written out here from the paper, as is the paper's form
of attention transfer. The Go tests need none of these programs.
"""

import importlib.util
import json
import sys
import types

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
MDISTILLER, DIST, STANDARD, REP = sys.argv[1:5]


def load(path, package):
    """A module of a checkout, without the package around it."""
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = []
        base = types.ModuleType(package + "._base")
        base.Distiller = nn.Module
        sys.modules[package + "._base"] = base
    name = package + "." + path.rsplit("/", 1)[-1][:-3]
    spec = importlib.util.spec_from_file_location(name, path)
    m = importlib.util.module_from_spec(spec)
    sys.modules[name] = m
    spec.loader.exec_module(m)
    return m


d = MDISTILLER + "/mdistiller/distillers/"
common = load(d + "_common.py", "zoo")
dkd, at, rkd, sp, pkt, review = (load(d + n + ".py", "zoo") for n in ["DKD", "AT", "RKD", "SP", "PKT", "ReviewKD"])
dist = load(DIST + "/segmentation/losses/dist_kd.py", "dist")
std = load(STANDARD + "/mdistiller/distillers/KD.py", "std")


def numbers(seed, scale, *shape):
    """Multiples of 1/64, which float32 holds."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=g) * scale * 64).round() / 64


def kd(s, t, temperature, standardize):
    return std.kd_loss(s, t, temperature, standardize)


def decoupled(s, t, y, alpha, beta, temperature):
    return dkd.dkd_loss(s, t, y, alpha, beta, temperature)


def relation(s, t, beta, gamma, tau):
    """DIST.forward, by the functions of its file."""
    ps, pt = F.softmax(s / tau, 1), F.softmax(t / tau, 1)
    inter = 1 - dist.pearson_correlation(ps, pt).mean()
    intra = 1 - dist.pearson_correlation(ps.t(), pt.t()).mean()
    return tau**2 * (beta * inter + gamma * intra)


def normal(z):
    return std.normalize(z)


def rows(s, t, temperature):
    return temperature**2 * F.kl_div(F.log_softmax(s / temperature, 1), F.softmax(t / temperature, 1), reduction="none").sum(1)


N, K = 7, 10
y = torch.tensor([3, 0, 9, 3, 5, 1, 7])
cases = []


def case(spec, s, t, loss, **more):
    s = s.clone().requires_grad_(True)
    v = loss(s)
    (g,) = torch.autograd.grad(v, s)
    cases.append({"spec": spec, "value": v.item(), "gradient": g.flatten().tolist(), "student": s.detach().flatten().tolist(),
                  "teachers": [x.flatten().tolist() for x in t], "shape": list(s.shape), "labels": y.tolist(), **more})


s, t, u = numbers(1, 2, N, K), numbers(2, 3, N, K), numbers(3, 3, N, K)
far, sure = numbers(4, 30, N, K).clamp(-80, 80), numbers(5, 30, N, K).clamp(-80, 80)
far[0, 0], far[0, 3], far[1, 1], far[1, 0] = 80, -80, 80, -80
sure[2, 9], sure[2, 0], sure[0, 3], sure[0, 0] = 80, -80, 80, -80
for a, b, name in [(s, t, ""), (far, sure, "far")]:
    case("kd:T=4,alpha=1", a, [b], lambda x: kd(x, b, 4, False), name=name)
    case("kd:T=2,w=1,standardize=1", a, [b], lambda x: kd(x, b, 2, True), name=name)
    case("dist:T=1", a, [b], lambda x: relation(x, b, 1, 1, 1), name=name)
    case("dist:beta=2,gamma=0.5,T=4", a, [b], lambda x: relation(x, b, 2, 0.5, 4), name=name)
    case("dkd:alpha=1,beta=8,T=4", a, [b], lambda x: decoupled(x, b, y, 1, 8, 4), name=name)
case("dkd:alpha=0.5,beta=2,T=1", s, [t], lambda x: decoupled(x, t, y, 0.5, 2, 1))
case("dkd:alpha=1,beta=2,T=2,standardize=1", s, [t], lambda x: decoupled(normal(x), normal(t), y, 1, 2, 2))
case("dist:T=4,standardize=1", s, [t], lambda x: relation(normal(x), normal(t), 1, 1, 4))

# A mixed image: the mean of what its two classes give.
z, share = torch.tensor([1, 0, 4, 6, 5, 2, 8]), torch.tensor([0.75, 1, 0.5, 0.625, 1, 0.9375, 0.6875])


def mixed(x):
    one = [decoupled(x[i : i + 1], t[i : i + 1], y[i : i + 1], 1, 8, 4) for i in range(N)]
    two = [decoupled(x[i : i + 1], t[i : i + 1], z[i : i + 1], 1, 8, 4) for i in range(N)]
    return sum(p * a + (1 - p) * b for p, a, b in zip(share, one, two)) / N


case("dkd:alpha=1,beta=8,T=4", s, [t], mixed, other=z.tolist(), share=share.tolist())

# Several teachers, alike and by confidence (arXiv:2201.00007).
v = numbers(6, 2, N, K)
ce = torch.stack([F.cross_entropy(x, y, reduction="none") for x in (t, u, v)])
w = (1 - F.softmax(ce, 0)) / 2
case("kd:T=4,alpha=1", s, [t, u], lambda x: (kd(x, t, 4, False) + kd(x, u, 4, False)) / 2)
case("kd:T=4,alpha=1", s, [t, u, v], lambda x: sum(w[k] * rows(x, q, 4) for k, q in enumerate((t, u, v))).mean(), weighted=True)

# Features, NCHW there and NHWC here.
features = []


def feature(spec, s, t, loss):
    s = [x.clone().requires_grad_(True) for x in s]
    v = loss(s)
    g = torch.autograd.grad(v, s)
    last = lambda x: x.permute(0, 2, 3, 1).flatten().tolist()
    shape = lambda x: [x.shape[0], x.shape[2], x.shape[3], x.shape[1]]
    features.append({"spec": spec, "value": v.item(), "student": [last(x.detach()) for x in s], "teacher": [last(x) for x in t],
                     "shapes": [shape(x) for x in s], "teacher_shapes": [shape(x) for x in t], "gradients": [last(x) for x in g]})


def maps(seed, *shapes):
    return [numbers(seed + i, 1, *sh).clamp(min=-0.25) for i, sh in enumerate(shapes)]


fs = maps(20, (5, 4, 6, 6), (5, 6, 3, 3))
ft = maps(30, (5, 5, 6, 6), (5, 8, 3, 3))
large = maps(40, (5, 5, 7, 7), (5, 8, 3, 3))


def paper(a, b):
    q = lambda f: F.normalize(f.pow(2).mean(1).flatten(1))
    return sum(0.5 * (q(x) - q(z)).norm(dim=1).mean() for x, z in zip(a, b))


feature("at:w=1", fs, ft, lambda x: at.at_loss(x, ft, 2))
feature("at:w=1", fs, large, lambda x: at.at_loss(x, large, 2))
feature("at:form=paper,w=1", fs, ft, lambda x: paper(x, ft))
pool = lambda x: x.mean((2, 3))
feature("sp:w=1", fs[1:], ft[1:], lambda x: sp.sp_loss(x, ft[1:])[0])
feature("pkt:w=1", fs[1:], ft[1:], lambda x: pkt.pkt_loss(pool(x[0]), pool(ft[1])))
feature("rkd", fs[1:], ft[1:], lambda x: rkd.rkd_loss(pool(x[0]), pool(ft[1])))


def weights(m):
    """The tensors of a module by name, with values that float32 holds."""
    out = {}
    with torch.no_grad():
        for i, (n, p) in enumerate(m.named_parameters()):
            p.copy_(numbers(100 + i, 0.5, *p.shape) + (1 if p.dim() == 1 and n.endswith("weight") else 0))
            out[n] = {"shape": list(p.shape), "data": p.flatten().tolist()}
    return out


def projected(spec, s, t, m, loss):
    m.train()
    named = weights(m)
    feature(spec, s, t, loss)
    grads = torch.autograd.grad(loss(s), list(m.parameters()))
    features[-1]["weights"] = named
    features[-1]["weight_gradients"] = {n: g.flatten().tolist() for (n, _), g in zip(m.named_parameters(), grads)}


for a, b in [((5, 4, 6, 6), (5, 3, 6, 6)), ((5, 4, 6, 6), (5, 3, 3, 3)), ((5, 4, 6, 6), (5, 3, 4, 4))]:
    one, two = maps(50, a), maps(60, b)
    reg = common.ConvReg(a, b)
    projected("fitnet:w=1", one, two, reg, lambda x: F.mse_loss(reg(x[0]), two[0]))


class Chain(nn.Module):
    """The fusion of ReviewKD.forward_train, of two maps and the pooled one."""

    def __init__(self):
        super().__init__()
        self.abfs = nn.ModuleList([review.ABF(c, 6, o, i < 2) for i, (c, o) in enumerate([(4, 5), (6, 8), (6, 8)])])

    def forward(self, x):
        x = list(x) + [F.adaptive_avg_pool2d(x[-1], 1)]
        out, res = self.abfs[2](x[2], out_shape=1)
        results = [out]
        for i in (1, 0):
            out, res = self.abfs[i](x[i], res, x[i].shape[2], x[i].shape[2])
            results.insert(0, out)
        return results


for gs, gt in [(fs, ft), (maps(70, (5, 4, 7, 7), (5, 6, 3, 3)), maps(80, (5, 5, 7, 7), (5, 8, 3, 3)))]:
    chain = Chain()
    goal = list(gt) + [F.adaptive_avg_pool2d(gt[1], 1)]
    projected("reviewkd", gs, gt, chain, lambda x: review.hcl_loss(chain(x), goal))

# CRD: three steps with given negatives, of 16 images.
memory = load(REP + "/crd/memory.py", "crd")
memory.AliasMethod.cuda = lambda self: None
criterion = load(REP + "/crd/criterion.py", "crd")
option = types.SimpleNamespace(s_dim=6, t_dim=8, feat_dim=4, n_data=16, nce_k=5, nce_t=0.0625, nce_m=0.5)
crd = criterion.CRDLoss(option)
named = weights(crd)
crd.contrast.memory_v1.copy_(numbers(200, 0.5, 16, 4))
crd.contrast.memory_v2.copy_(numbers(201, 0.5, 16, 4))
contrast = {"weights": named, "memory": [m.flatten().tolist() for m in (crd.contrast.memory_v1, crd.contrast.memory_v2)], "steps": []}
for step in range(3):
    g = torch.Generator().manual_seed(300 + step)
    own = torch.randperm(16, generator=g)[:5]
    negative = torch.randint(0, 16, (5, 5), generator=g)
    a, b = maps(310 + step, (5, 6, 2, 2))[0].requires_grad_(True), maps(320 + step, (5, 8, 2, 2))[0]
    value = crd(pool(a), pool(b), own, torch.cat([own.unsqueeze(1), negative], 1))[0]
    grads = torch.autograd.grad(value, [a] + list(crd.parameters()))
    last = lambda x: x.permute(0, 2, 3, 1).flatten().tolist()
    contrast["steps"].append({"own": own.tolist(), "negatives": negative.tolist(), "student": last(a.detach()), "teacher": last(b), "value": value.item(),
                              "gradient": last(grads[0]), "weight_gradients": {n: x.flatten().tolist() for (n, _), x in zip(crd.named_parameters(), grads[1:])}})
contrast["after"] = [m.flatten().tolist() for m in (crd.contrast.memory_v1, crd.contrast.memory_v2)]

with open("distill/testdata/golden.json", "w") as f:
    def short(x):
        if isinstance(x, float):
            return float(f"{x:.13g}")
        if isinstance(x, list):
            return [short(v) for v in x]
        if isinstance(x, dict):
            return {k: short(v) for k, v in x.items()}
        return x

    json.dump({"torch": torch.__version__, "logits": short(cases), "features": short(features), "contrast": short(contrast)}, f, separators=(",", ":"))
    f.write("\n")
