#!/usr/bin/env python3
"""Write engine/train/testdata/golden.json: PyTorch's learning rates and optimizer trajectories.

Run from the repository root with a Python that has torch:

    python scripts/golden_train.py

"schedules" holds, for each setting of train.ScheduleConfig, the learning rate of
every step. "runs" holds the weights of a linear classifier after a short
training by each optimizer, in float64 arithmetic of PyTorch.
"""

import json
import pathlib

import torch
from torch import nn
from torch.optim import lr_scheduler as ls


def rates(make, base, count, per_epoch=1):
    """The rate of each of count steps; the scheduler moves once per per_epoch steps."""
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
    sched = make(opt) if make else None
    out = []
    for t in range(count):
        out.append(opt.param_groups[0]["lr"])
        opt.step()
        if sched and (t + 1) % per_epoch == 0 and t + 1 < count:
            sched.step()
    return out


def sequential(opt, warmup, start, after):
    return ls.SequentialLR(opt, [ls.LinearLR(opt, start_factor=start, total_iters=warmup), after(opt)], [warmup])


def schedules():
    out = []

    def add(name, config, base, epochs, per_epoch, lr):
        out.append(dict(name=name, config=config, base=base, epochs=epochs, steps_per_epoch=per_epoch, lr=lr))

    add("constant", dict(kind="constant"), 1e-3, 2, 3, rates(None, 1e-3, 6))
    add("constant, warm-up", dict(kind="constant", warmup=4), 1e-3, 2, 5,
        rates(lambda o: ls.LinearLR(o, total_iters=4), 1e-3, 10))
    add("step by epochs", dict(kind="step", step_size=2, gamma=0.5), 0.1, 6, 3,
        rates(lambda o: ls.StepLR(o, 2, 0.5), 0.1, 18, 3))
    add("step by steps, warm-up", dict(kind="step", step_size=4, gamma=0.3, per_step=True, warmup=3, warmup_start=0.1), 0.1, 4, 5,
        rates(lambda o: sequential(o, 3, 0.1, lambda p: ls.StepLR(p, 4, 0.3)), 0.1, 20))
    add("cosine by epochs", dict(kind="cosine", min_lr=1e-5), 1e-2, 5, 4,
        rates(lambda o: ls.CosineAnnealingLR(o, 5, 1e-5), 1e-2, 20, 4))
    add("cosine by steps, warm-up", dict(kind="cosine", per_step=True, warmup=5, warmup_start=0.01), 1e-3, 3, 7,
        rates(lambda o: sequential(o, 5, 0.01, lambda p: ls.CosineAnnealingLR(p, 16)), 1e-3, 21))
    add("one-cycle", dict(kind="onecycle"), 1e-2, 4, 5,
        rates(lambda o: ls.OneCycleLR(o, 1e-2, total_steps=20, cycle_momentum=False), 1e-2, 20))
    add("one-cycle, lines", dict(kind="onecycle", max_lr=0.2, pct_start=0.45, div_factor=10, final_div_factor=100, linear=True), 1e-2, 3, 7,
        rates(lambda o: ls.OneCycleLR(o, 0.2, total_steps=21, pct_start=0.45, div_factor=10, final_div_factor=100,
                                      anneal_strategy="linear", cycle_momentum=False), 1e-2, 21))
    # SequentialLR and OneCycleLR disagree about the initial rate, so the two parts are run apart.
    warm = rates(lambda o: ls.LinearLR(o, start_factor=0.2, total_iters=4), 1e-2, 4)
    cycle = rates(lambda o: ls.OneCycleLR(o, 1e-2, total_steps=16, cycle_momentum=False), 1e-2, 16)
    add("one-cycle, warm-up", dict(kind="onecycle", warmup=4, warmup_start=0.2), 1e-2, 4, 5, warm + cycle)
    return out


CLASSES, SIDE, IMAGES = 3, 2, 8
LABELS = [0, 0, 0, 1, 1, 1, 2, 2]


def pixels():
    """Image i, row y, column x, channel c: (37 i + 61 y + 101 x + 17 c + 5 i x) mod 256, as NCHW/255."""
    t = torch.empty(IMAGES, 3, SIDE, SIDE, dtype=torch.float64)
    for i in range(IMAGES):
        for y in range(SIDE):
            for x in range(SIDE):
                for c in range(3):
                    t[i, c, y, x] = (37 * i + 61 * y + 101 * x + 17 * c + 5 * i * x) % 256 / 255
    return t


def run(make, epochs=3, batch=4, smoothing=0.0, clip=0.0, schedule=None):
    x, y = pixels(), torch.tensor(LABELS)
    net = nn.Linear(3 * SIDE * SIDE, CLASSES).double()
    with torch.no_grad():
        k = torch.arange(net.weight.numel(), dtype=torch.float64)
        net.weight.copy_((((7 * k) % 11 - 5) / 10).reshape(net.weight.shape))
        net.bias.copy_(torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))
    loss_of = nn.CrossEntropyLoss(label_smoothing=smoothing)
    opt = make(net.parameters())
    sched = schedule(opt) if schedule else None
    losses, norms = [], []
    for _ in range(epochs):
        for at in range(0, IMAGES, batch):
            opt.zero_grad()
            loss = loss_of(net(x[at:at + batch].flatten(1)), y[at:at + batch])
            loss.backward()
            if clip:
                norms.append(nn.utils.clip_grad_norm_(net.parameters(), clip).item())
            opt.step()
            if sched:
                sched.step()
            losses.append(loss.item())
    return dict(losses=losses, norms=norms, weight=net.weight.detach().flatten().tolist(), bias=net.bias.detach().tolist())


def runs():
    o = torch.optim
    return {
        "adamw": run(lambda p: o.AdamW(p, lr=0.02, weight_decay=0.1)),
        "adam": run(lambda p: o.Adam(p, lr=0.02, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-6)),
        "sgd": run(lambda p: o.SGD(p, lr=0.1, weight_decay=0.01)),
        "momentum": run(lambda p: o.SGD(p, lr=0.1, momentum=0.9)),
        "nesterov": run(lambda p: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
        "clip": run(lambda p: o.SGD(p, lr=0.1, momentum=0.9), clip=0.2),
        "smoothing": run(lambda p: o.AdamW(p, lr=0.02, weight_decay=0.01), smoothing=0.1),
        "cosine": run(lambda p: o.AdamW(p, lr=0.02, weight_decay=0.01), schedule=lambda q: ls.CosineAnnealingLR(q, 6)),
        "uneven": run(lambda p: o.AdamW(p, lr=0.02, weight_decay=0.01), batch=5),
    }


if __name__ == "__main__":
    path = pathlib.Path("engine/train/testdata/golden.json")
    path.write_text(json.dumps(dict(torch=torch.__version__.split("+")[0], schedules=schedules(), runs=runs()), indent=None,
                               separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes")
