"""PyTorch's side of scripts/bench_cpu.sh: one mode of it, driven line by line.

Each line of standard input is a JSON object, and is answered by one line of
standard output:

    {"do": "load", "name": CASE, "file": FILE}   builds the case from Potstill's file, runs its first steps
    {"do": "time", "seconds": S}                 times steps from the file's weights on, for S seconds at least

    python scripts/bench_pytorch.py compile-channels_last --threads 2
"""

import argparse
import gc
import json
import os
import resource
import statistics
import sys
import time

MODES = ["eager", "eager-channels_last", "compile", "compile-channels_last"]

# name: (family, what is done). Potstill's own list is in cmd/potstill/bench_step.go.
CASES = {
    "dwpw_train_128": ("cnn-dwpw", "train"),
    "dwpw_train_256": ("cnn-dwpw", "train"),
    "plain_train_128": ("cnn-plain", "train"),
    "group_train_128": ("cnn-group", "train"),
    "resnet18_infer_128": ("resnet18", "infer"),
    "resnet18_train_128": ("resnet18", "train"),
    "distill_128": ("cnn-dwpw", "distill"),
    "dwpw_predict_1_256": ("cnn-dwpw", "infer"),
    "int8_predict_1_256": ("cnn-dwpw", "infer"),
}
CLASSES = 11
CHECK_STEPS = 3
LR = 1e-4  # stepLR of cmd/potstill/bench_step_run.go


class Step:
    """One case in one mode: a function that runs one step."""

    def __init__(self, name, mode, path):
        import torch
        import torch.nn.functional as F
        from safetensors.torch import load_file

        import models

        family, self.what = CASES[name]
        tensors = load_file(path)
        compiled = mode.startswith("compile")
        layout = torch.channels_last if mode.endswith("channels_last") else torch.contiguous_format

        def build(family, prefix):
            net = models.build(family, CLASSES)
            net.load_state_dict({k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)})
            return net.to(memory_format=layout)

        def wrap(f, frozen=False):
            return torch.compile(f, options={"freezing": True} if frozen else None) if compiled else f

        x = tensors["image"].to(memory_format=layout)
        y = tensors["target"]
        self.net = build(family, "net.")
        if self.what == "infer":
            infer = wrap(self.net.eval(), frozen=True)

            def step():
                with torch.inference_mode():
                    return infer(x)

            self.step = step
            return

        self.net.train()
        self.initial = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=LR, weight_decay=1e-2, fused=True)
        if self.what == "distill":
            teacher = wrap(build("resnet18", "teacher.").eval(), frozen=True)
            temperature, alpha = 20.0, 0.5

            def distillation(x, t):
                s = self.net(x)
                kl = F.kl_div(F.log_softmax(s / temperature, 1), F.softmax(t / temperature, 1), reduction="batchmean")
                return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * kl

            student = wrap(distillation)

            def loss():
                with torch.no_grad():
                    t = teacher(x)
                return student(x, t)

        else:
            forward = wrap(lambda x: F.cross_entropy(self.net(x), y))

            def loss():
                return forward(x)

        def step():
            self.optimizer.zero_grad(set_to_none=True)
            out = loss()
            out.backward()
            self.optimizer.step()
            return out.detach()

        self.step = step

    def reset(self):
        """Back to the file's weights, so that every measurement does the same work."""
        if self.what == "infer":
            return
        self.net.load_state_dict(self.initial)
        for state in self.optimizer.state.values():
            for v in state.values():
                v.zero_()

    def check(self):
        """The losses of the first steps; of an inference, all logits."""
        results = [self.step().flatten().tolist() for _ in range(CHECK_STEPS)]
        return results[-1] if self.what == "infer" else sum(results, [])

    def time(self, seconds):
        """The median time of a step in milliseconds, as potstill's bench takes it."""
        self.reset()
        for _ in range(CHECK_STEPS + 1):  # as many as potstill runs first
            self.step()
        gc.collect()
        gc.disable()
        times, begin = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < seconds:
            t = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - t)
        gc.enable()
        return 1e3 * statistics.median(times)


def status_bytes(key):
    """A figure of /proc/self/status (VmHWM: the largest resident set so far)."""
    try:
        with open("/proc/self/status") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def serve(mode, threads):
    """Answers each line of standard input, a JSON object, by one of standard output."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed must not get between the replies
    import torch

    torch.set_num_threads(threads)
    imported = status_bytes("VmRSS")
    step = None
    for line in sys.stdin:
        request, reply = json.loads(line), {}
        try:
            if request["do"] == "load":
                step = None
                gc.collect()
                if mode.startswith("compile"):
                    torch._dynamo.reset()
                step = Step(request["name"], mode, request["file"])
                reply = {"check": step.check()}
            elif request["do"] == "time":
                reply = {"ms": step.time(request["seconds"])}
            reply["peak_bytes"], reply["import_bytes"] = status_bytes("VmHWM"), imported
            reply["torch"] = torch.__version__
        except Exception as e:  # noqa: BLE001: the driver decides what it means
            text = [s.strip() for s in str(e).splitlines() if s.strip()]
            reply = {"error": f"{type(e).__name__}: {text[0] if text else ''}"}
        print(json.dumps(reply), file=replies, flush=True)


def main():
    p = argparse.ArgumentParser(description="one mode of PyTorch, driven line by line")
    p.add_argument("mode", choices=MODES)
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()
    serve(o.mode, o.threads)


if __name__ == "__main__":
    main()
