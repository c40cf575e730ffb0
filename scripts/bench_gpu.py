"""Potstill against PyTorch at its best on one card, in turns, in one run.

PyTorch: eager, and torch.compile(mode="max-autotune-no-cudagraphs"), each also
with the whole step (forward, backward, optimizer) captured as one CUDA graph;
channels_last, bfloat16 autocast (float32: TF32 allowed), fused AdamW,
cudnn.benchmark, the data already on the card. Potstill: `potstill bench train`,
whose batch is on the card as well. Prints a table of images a second and of the
ratio to PyTorch's best, medians over the rounds. What one side or one mode fails
at is left out, with a line; --out is written anew after every measurement.

    python scripts/bench_gpu.py --potstill bin/gpu/potstill [--rounds 3] [--quick] [--teacher] [--out FILE] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

import models

CLASSES = 11
SHAPES = [(256, 128), (32, 256)]
MODES = ["eager", "eager+graph", "compile", "compile+graph"]


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
            return torch.compile(f, mode="max-autotune-no-cudagraphs") if mode.startswith("compile") else f

        def cast():
            return torch.autocast("cuda", torch.bfloat16, enabled=bf16)

        if what == "infer":
            net = wrap(build("resnet18").eval())

            def step():
                with torch.inference_mode(), cast():
                    return net(x)

            self.step = graphed(step) if mode.endswith("+graph") else step
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

        self.step = graphed(step) if mode.endswith("+graph") else step

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


def graphed(step):
    """The step as one CUDA graph, after some steps on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def teacher_kernels(batch, size):
    """Prints which kernels PyTorch runs for the teacher, and their time."""
    from torch.profiler import ProfilerActivity, profile

    case = Case("infer", batch, size, "eager", True)
    for _ in range(5):
        case.step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as p:
        case.step()
        torch.cuda.synchronize()
    spent = lambda e: getattr(e, "device_time_total", None) or getattr(e, "cuda_time_total", 0)
    events = sorted(p.key_averages(), key=spent, reverse=True)
    print(f"PyTorch's kernels for the teacher, {batch} images of {size} pixels: {sum(map(spent, events)):.0f} us")
    for e in events[:12]:
        print(f"{spent(e):9.1f} us x{e.count:3} {e.key[:110]}")


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
    p.add_argument("--quick", action="store_true", help="bfloat16 distillation at the first shape only, one round")
    p.add_argument("--teacher", action="store_true", help="also say which kernels PyTorch runs for the teacher")
    p.add_argument("--out", help="a file for the results, written anew after every measurement")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    whats = ["distill"] if a.quick else ["train", "infer", "distill"]
    rounds = 1 if a.quick else a.rounds
    results = {}

    def keep():
        if a.out:
            with open(a.out + ".new", "w") as f:
                json.dump(results, f, indent=1)
            os.replace(a.out + ".new", a.out)

    for bf16 in [True] if a.quick else [True, False]:
        for batch, size in SHAPES[:1] if a.quick else SHAPES:
            measure(a, results, keep, whats, rounds, batch, size, bf16)
    if a.json:
        print(json.dumps(results, indent=1))
        return
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}: images a second, ratio to PyTorch's best")
    print(f"{'case':24}{'Potstill':>10}" + "".join(f"{m:>15}" for m in MODES) + f"{'ratio':>8}  min..max")
    for name, r in results.items():
        print(f"{name:24}{r['potstill']:10.0f}" + "".join(f"{r.get(m, float('nan')):15.0f}" for m in MODES) +
              f"{r['ratio']:8.2f}  {r['min']:.2f}..{r['max']:.2f}")
    if a.teacher:
        try:
            teacher_kernels(*SHAPES[0])
        except Exception as e:
            print(f"the teacher's kernels: left out: {first_line(e)}")


def first_line(e):
    return (str(e).splitlines() or [type(e).__name__])[0]


def measure(a, results, keep, whats, rounds, batch, size, bf16):
    """Fills in the results of one shape, in turns, and keeps them as they come."""
    nan = float("nan")
    ours, theirs = {w: [] for w in whats}, {}

    def collect():
        for w in whats:
            best = {m: statistics.median(theirs[w, m]) for m in MODES if theirs.get((w, m))}
            mode = max(best, key=best.get) if best else None
            ratios = [o / t for o, t in zip(ours[w], theirs[w, mode])] if mode else []
            results[f"{w}_{'bf16' if bf16 else 'tf32'}_{batch}_{size}"] = {
                "potstill": statistics.median(ours[w]) if ours[w] else nan, **best, "to": mode,
                "ratio": statistics.median(ratios) if ratios else nan, "min": min(ratios, default=nan), "max": max(ratios, default=nan)}
        keep()

    for turn in range(rounds):
        try:
            mine = potstill(a.potstill, batch, size, bf16, a.seconds)
            for w in whats:
                ours[w].append(mine[w])
        except Exception as e:
            print(f"Potstill: left out: {first_line(e)}", file=sys.stderr)
        collect()
        for w in whats:
            for m in MODES:
                if turn and not theirs.get((w, m)):
                    continue  # it failed before
                try:  # torch.compile needs a C compiler and Triton
                    case = Case(w, batch, size, m, bf16)
                    theirs.setdefault((w, m), []).append(case.images_per_second(a.seconds))
                    del case
                except Exception as e:
                    print(f"{w} {m}: left out: {first_line(e)}", file=sys.stderr)
                torch.cuda.empty_cache()
                collect()


if __name__ == "__main__":
    main()
