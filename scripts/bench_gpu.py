"""Potstill against PyTorch at its best on one card, in turns, in one run.

PyTorch: eager and torch.compile(mode="max-autotune"), channels_last, bfloat16
autocast (float32: TF32 allowed), fused AdamW, cudnn.benchmark, the data
already on the card. Potstill: `potstill bench train`, whose batch is on the
card as well. Prints a table of images a second and of the ratio to PyTorch's
best, medians over the rounds.

    python scripts/bench_gpu.py --potstill bin/gpu/potstill [--rounds 3] [--quick] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

import models

CLASSES = 11
SHAPES = [(256, 128), (32, 256)]
MODES = ["eager", "compile"]


class Case:
    """One kind of step at one shape, in one mode and precision."""

    def __init__(self, what, batch, size, mode, bf16):
        torch.manual_seed(1)
        layout = torch.channels_last
        self.bf16, self.batch = bf16, batch
        x = torch.rand(batch, 3, size, size, device="cuda").to(memory_format=layout)
        y = torch.arange(batch, device="cuda") % CLASSES

        def build(family):
            return models.build(family, CLASSES).cuda().to(memory_format=layout)

        def wrap(f):
            return torch.compile(f, mode="max-autotune") if mode == "compile" else f

        def cast():
            return torch.autocast("cuda", torch.bfloat16, enabled=bf16)

        if what == "infer":
            net = wrap(build("resnet18").eval())

            def step():
                with torch.inference_mode(), cast():
                    return net(x)

            self.step = step
            return
        student = build("cnn-dwpw").train()
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, fused=True, capturable=True)
        teacher = wrap(build("resnet18").eval()) if what == "distill" else None
        temperature, alpha = 20.0, 0.5

        def loss(x, t):
            with cast():
                s = student(x)
            s = s.float()
            hard = F.cross_entropy(s, y)
            if t is None:
                return hard
            soft = F.kl_div(F.log_softmax(s / temperature, 1), F.softmax(t.float() / temperature, 1), reduction="batchmean")
            return (1 - alpha) * hard + alpha * temperature**2 * soft

        forward = wrap(loss)

        def step():
            t = None
            if teacher is not None:
                with torch.no_grad(), cast():
                    t = teacher(x)
            optimizer.zero_grad(set_to_none=True)
            out = forward(x, t)
            out.backward()
            optimizer.step()
            return out

        self.step = step

    def images_per_second(self, seconds):
        for _ in range(10):
            self.step()
        torch.cuda.synchronize()
        n, begin = 0, time.perf_counter()
        while True:
            for _ in range(10):
                self.step()
            n += 10
            torch.cuda.synchronize()
            t = time.perf_counter() - begin
            if t >= seconds:
                return n * self.batch / t


def potstill(binary, batch, size, bf16, seconds):
    """Images a second of Potstill by what is done."""
    out = subprocess.run(
        [binary, "bench", "train", "--device", "cuda:0", "--precision", "bfloat16" if bf16 else "float32", *([] if bf16 else ["--tf32"]),
         "--batch", str(batch), "--size", str(size), "--arch", "cnn-dwpw,resnet18", "--time", f"{seconds}s", "--json"],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = json.loads(out)["rows"]
    get = lambda arch, mode: next(r["images_per_second"] for r in rows if r["arch"] == arch and r["mode"] == mode)
    return {"train": get("cnn-dwpw", "train"), "infer": get("resnet18", "infer"), "distill": get("cnn-dwpw", "distill")}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--potstill", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--quick", action="store_true", help="bfloat16 distillation only, one round")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    whats = ["distill"] if a.quick else ["train", "infer", "distill"]
    rounds = 1 if a.quick else a.rounds
    results = {}
    for bf16 in [True] if a.quick else [True, False]:
        for batch, size in SHAPES:
            peers = {}
            for what in whats:
                for mode in MODES:
                    try:
                        peers[what, mode] = Case(what, batch, size, mode, bf16)
                        peers[what, mode].step()
                    except Exception as e:  # torch.compile needs a C compiler and Triton
                        print(f"{what} {mode}: left out: {str(e).splitlines()[0]}", file=sys.stderr)
                        peers.pop((what, mode), None)
            ours, theirs = {w: [] for w in whats}, {k: [] for k in peers}
            for _ in range(rounds):
                mine = potstill(a.potstill, batch, size, bf16, a.seconds)
                for w in whats:
                    ours[w].append(mine[w])
                for k, c in peers.items():
                    theirs[k].append(c.images_per_second(a.seconds))
            for w in whats:
                best = {m: statistics.median(theirs[w, m]) for m in MODES if (w, m) in theirs}
                mode = max(best, key=best.get)
                ratios = [o / t for o, t in zip(ours[w], theirs[w, mode])]
                name = f"{w}_{'bf16' if bf16 else 'tf32'}_{batch}_{size}"
                results[name] = {"potstill": statistics.median(ours[w]), **best, "to": mode,
                                 "ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
            del peers
            torch.cuda.empty_cache()
    if a.json:
        print(json.dumps(results, indent=1))
        return
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}: images a second, ratio to PyTorch's best")
    print(f"{'case':24}{'Potstill':>10}" + "".join(f"{m:>12}" for m in MODES) + f"{'ratio':>8}  min..max")
    for name, r in results.items():
        print(f"{name:24}{r['potstill']:10.0f}" + "".join(f"{r.get(m, float('nan')):12.0f}" for m in MODES) +
              f"{r['ratio']:8.2f}  {r['min']:.2f}..{r['max']:.2f}")


if __name__ == "__main__":
    main()
