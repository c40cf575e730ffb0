"""Makes the goldens of whole nets that layers/golden_test.go compares with.

    python scripts/golden.py layers/testdata

Needs torch, torchvision and safetensors; the Go tests need none of them. All
values are computed in float64 from weights and images that float16 holds
exactly, so that the files stay small and no rounding of the reference's own
enters the comparison.
"""

import json
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import models

CLASSES = 5
BATCH, SIZE = 4, 32
TEMPERATURE, ALPHA, STEPS, BATCHES = 20.0, 0.5, 20, 2
RESNET = [8, 12, 16, 24]
SHUFFLENET = [4, 4, 8, 12, 16]


def representable(t):
    """t rounded to what float16 holds, in float64."""
    return t.to(torch.float16).to(torch.float64)


def make_model(family, generator, base=None, widths=None):
    """A model with no tensor at a special value: BatchNorm's are drawn too."""
    model = models.build(family, CLASSES, base=base, widths=widths).double()

    def uniform(t, lo, hi):
        t.copy_(representable(torch.rand(t.shape, generator=generator) * (hi - lo) + lo))

    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                uniform(m.weight, 0.5, 1.5)
                uniform(m.bias, -0.5, 0.5)
                uniform(m.running_mean, -0.3, 0.3)
                uniform(m.running_var, 0.5, 1.5)
            elif isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)):
                bound = (3.0 / m.weight[0].numel()) ** 0.5
                uniform(m.weight, -bound, bound)
                if m.bias is not None:
                    uniform(m.bias, -0.2, 0.2)
    return model


def make_batch(generator):
    """Images NCHW, and targets of which the last is a mixture of two classes."""
    x = representable(torch.rand(BATCH, 3, SIZE, SIZE, generator=generator) * 2 - 1)
    y = torch.zeros(BATCH, CLASSES, dtype=torch.float64)
    for i, k in enumerate(torch.randint(CLASSES, (BATCH,), generator=generator).tolist()):
        y[i, k] = 1
    y[-1] = 0
    y[-1, 1], y[-1, 3] = 0.75, 0.25
    return x, y


def weights(prefix, model):
    """The float tensors of the state_dict, as float16."""
    return {prefix + k: v.to(torch.float16).clone() for k, v in model.state_dict().items() if v.is_floating_point()}


def small(t):
    return t.detach().to(torch.float32).contiguous()


def arch(family, widths):
    return {"family": family, "classes": CLASSES, "widths": widths}


def save(path, tensors, meta):
    save_file(tensors, path, metadata={"golden": json.dumps(meta)})
    print(path, os.path.getsize(path))


def whole_net(folder, family, widths, seed):
    """One training step's every result, then the logits in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model(family, generator, widths=widths)
    x, y = make_batch(generator)
    out = {"input": x.to(torch.float16), "target": small(y), **weights("state/", model)}
    model.train()
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    out["logits"], out["loss"] = small(logits), small(loss)
    for name, p in model.named_parameters():
        out["grad/" + name] = small(p.grad)
    for name, b in model.named_buffers():
        if b.is_floating_point():
            out["after/" + name] = small(b)
    with torch.no_grad():
        out["eval"] = small(model.eval()(x))
    save(os.path.join(folder, f"golden_{family}.safetensors"), out, {"arch": arch(family, widths)})


def evaluation(folder, family, widths, seed):
    """The logits in evaluation alone: of a net so deep that one step of training
    from drawn weights makes much of float32's rounding."""
    generator = torch.Generator().manual_seed(seed)
    model = make_model(family, generator, widths=widths).eval()
    x, _ = make_batch(generator)
    out = {"input": x.to(torch.float16), **weights("state/", model)}
    with torch.no_grad():
        out["eval"] = small(model(x))
    save(os.path.join(folder, f"golden_{family}.safetensors"), out, {"arch": arch(family, widths)})


def distillation(folder, seed):
    """Losses of 20 AdamW steps of knowledge distillation."""
    generator = torch.Generator().manual_seed(seed)
    student_widths = models.widths_of("cnn-dwpw", 4)
    teacher = make_model("resnet18", generator, widths=RESNET).eval()
    student = make_model("cnn-dwpw", generator, widths=student_widths).train()
    batches = [make_batch(generator) for _ in range(BATCHES)]
    out = {**weights("teacher/", teacher), **weights("student/", student)}
    for i, (x, y) in enumerate(batches):
        out[f"input/{i}"], out[f"target/{i}"] = x.to(torch.float16), small(y)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for step in range(STEPS):
        x, y = batches[step % BATCHES]
        with torch.no_grad():
            t = teacher(x)
        s = student(x)
        kl = F.kl_div(
            F.log_softmax(s / TEMPERATURE, 1), F.softmax(t / TEMPERATURE, 1), reduction="batchmean"
        )
        loss = (1 - ALPHA) * F.cross_entropy(s, y) + ALPHA * TEMPERATURE**2 * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    out["losses"] = torch.tensor(losses, dtype=torch.float32)
    meta = {"teacher": arch("resnet18", RESNET), "student": arch("cnn-dwpw", student_widths)}
    meta |= {"temperature": TEMPERATURE, "alpha": ALPHA}
    save(os.path.join(folder, "golden_distill.safetensors"), out, meta)
    print(losses)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(1)
    for i, family in enumerate(["cnn-dwpw", "cnn-plain", "cnn-group"]):
        whole_net(folder, family, models.widths_of(family, 4), 100 + i)
    whole_net(folder, "resnet18", RESNET, 200)
    evaluation(folder, "shufflenet_v2_x0_5", SHUFFLENET, 210)
    distillation(folder, 300)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "layers/testdata")
