"""PyTorch's side of scripts/bench_cpu.sh: one of its eight modes (eager or compiled, contiguous or channels_last, float32 or
autocast to bfloat16), driven line by line as bench_worker.py describes.

    python scripts/bench_pytorch.py compile-channels_last-bfloat16 --threads 2
"""

import argparse

from bench_cases import BFLOAT16, CHANNELS_LAST, CHECK_STEPS, CLASSES, COMPILE, LR, PYTORCH, PYTORCH_NARROW, WORKS, precision_of
from bench_worker import serve


def build_net(family):
    """A family's net in PyTorch's initial state, without what is random in training: both sides are to compute the same."""
    import families
    import models

    if family in models.MULTIPLIERS:
        return models.build(family, CLASSES)
    return families.still(families.build(family, CLASSES))


class Step:
    """One work in one mode: a function that runs one step."""

    def __init__(self, name, mode, path):
        import torch
        import torch.nn.functional as F
        from safetensors.torch import load_file

        family, self.what = WORKS[name]
        tensors = load_file(path)
        compiled = mode.startswith(COMPILE)
        layout = torch.channels_last if CHANNELS_LAST in mode else torch.contiguous_format

        def narrow():
            return torch.autocast("cpu", torch.bfloat16, enabled=precision_of(mode) == BFLOAT16)

        def build(family, prefix):
            net = build_net(family)
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
                with torch.inference_mode(), narrow():
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
                s, t = self.net(x).float(), t.float()
                kl = F.kl_div(F.log_softmax(s / temperature, 1), F.softmax(t / temperature, 1), reduction="batchmean")
                return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * kl

            student = wrap(distillation)

            def loss():
                with narrow():
                    with torch.no_grad():
                        t = teacher(x)
                    return student(x, t)

        else:
            forward = wrap(lambda x: F.cross_entropy(self.net(x).float(), y))

            def loss():
                with narrow():
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
        results = [self.step().float().flatten().tolist() for _ in range(CHECK_STEPS)]
        return results[-1] if self.what == "infer" else sum(results, [])


def export(name, path, out):
    """The work's net with the file's weights as an ONNX file of fixed shapes, as PyTorch's users make one."""
    import warnings

    import torch
    from safetensors.torch import load_file

    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of the exporter, which the engines read best
    tensors = load_file(path)
    net = build_net(WORKS[name][0])
    net.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")})
    torch.onnx.export(net.eval(), (tensors["image"],), out, input_names=["image"], output_names=["logits"], dynamo=False)


def main():
    p = argparse.ArgumentParser(description="one mode of PyTorch, driven line by line")
    p.add_argument("mode", choices=[*PYTORCH, *PYTORCH_NARROW])
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()

    def start():
        import torch

        torch.set_num_threads(o.threads)
        return f"PyTorch {torch.__version__}"

    def load(request):
        import torch

        if o.mode.startswith(COMPILE):
            torch._dynamo.reset()
        return Step(request["name"], o.mode, request["file"])

    serve(start, load, {"export": lambda r: export(r["name"], r["file"], r["out"])})


if __name__ == "__main__":
    main()
