"""Holds `potstill predict` on a file of 8-bit codes to PyTorch.

    python scripts/codes_check.py MODEL.pkl

needs torch, numpy and Pillow, and bin/potstill. MODEL is one of the study's
8-bit pickles of an hw7-student; tensors of other names must be in the order of
the state_dict. The net is built by scripts/models.py with the decoded weights, w = q/255 * (max - min) + min in float64, and both classify
the same random pictures. Every instruction set of this processor, and one thread
and two, must give logits within 1e-5 of the largest.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

import models

LIMIT = 1e-5
POTSTILL = os.path.join(os.path.dirname(__file__), "..", "bin", "potstill")


def decode(entry):
    if isinstance(entry, tuple):
        lo, hi, codes = entry
        lo, hi = np.float64(lo), np.float64(hi)
        return torch.from_numpy((codes.astype(np.float64) / 255 * (hi - lo) + lo).astype(np.float32))
    return torch.as_tensor(np.asarray(entry))


def logits(model, files, variant, threads):
    env = {**os.environ, "POTSTILL_CPU": variant}
    out = subprocess.run(
        [POTSTILL, "predict", "--model", model, "--json", "--device", "cpu", "--threads", str(threads), *files],
        env=env, capture_output=True, text=True, check=True,
    ).stdout
    return torch.tensor([json.loads(line)["logits"] for line in out.splitlines()], dtype=torch.float64)


def main(model):
    with open(model, "rb") as f:
        values = [decode(v) for v in pickle.load(f).values()]
    net = models.build("hw7-student", values[-1].numel())
    names = net.state_dict()
    net.load_state_dict({k: v.reshape(t.shape) for (k, t), v in zip(names.items(), values, strict=True)})
    net.eval()
    rng = np.random.default_rng(1)
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        files, images = [], []
        for i in range(4):
            pixels = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
            files.append(os.path.join(folder, f"{i}.png"))
            Image.fromarray(pixels).save(files[-1])
            images.append(pixels)
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            want = net(x).double()
        for variant in ("avx512", "avx2", "generic"):
            for threads in (1, 2):
                try:
                    got = logits(model, files, variant, threads)
                except subprocess.CalledProcessError as e:
                    print(f"{variant}: left out: {e.stderr.strip()}")
                    continue
                d = ((got - want).abs().max() / want.abs().max()).item()
                worst = max(worst, d)
                print(f"{variant}, {threads} threads: {d:.2g} of the largest logit")
    return 0 if 0 < worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
