"""Holds pruned and factorized nets to ONNX Runtime: small nets of the families are
cut, or taken apart, exported, and their logits of one picture compared with those
that potstill predicts.

    pip install torch torchvision onnxruntime
    python scripts/prune_check.py BIN [FAMILY…]

BIN is the potstill command. It prints a line a cut; a difference above 1e-4 of the
largest logit ends it with an error.
"""

import json
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
import torch
import torchvision

import families
from families_golden import BASES, load

CLASSES = 5
SIZES = {"inception_v3": 96, "vgg11_bn": 224, "vgg16": 224, "vgg16_bn": 224}
CUTS = [["prune", "--ratio", r, "--rank", k] for r, k in (("0.3", "local"), ("0.5", "global"), ("0.75", "isomorphic"))]
CUTS += [["factorize", "--energy", "0.6", "--untimed"]]


def call(*args):
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"{' '.join(args)}: {r.stderr.strip()}")
    return r.stdout


def main(potstill, chosen):
    worst = 0.0
    for family in chosen or families.FAMILIES:
        size = SIZES.get(family, 64)
        with tempfile.TemporaryDirectory() as d:
            net = load(families.build(family, CLASSES, BASES.get(family, 4)))
            torch.save(net.state_dict(), f"{d}/net.pth")
            call(potstill, "convert", f"{d}/net.pth", f"{d}/net.safetensors", "--arch", family, "--size", str(size), "--resize", str(size))
            picture = np.random.default_rng(1).integers(0, 256, (3, size, size), dtype=np.uint8)
            torchvision.io.write_png(torch.from_numpy(picture), f"{d}/picture.png")
            for cut in CUTS:
                call(potstill, *cut, "--model", f"{d}/net.safetensors", "--out", f"{d}/cut.safetensors")
                call(potstill, "convert", f"{d}/cut.safetensors", f"{d}/cut.onnx")
                said = json.loads(call(potstill, "predict", "--json", "--logits", "--model", f"{d}/cut.safetensors", f"{d}/picture.png"))
                ours = np.array((said[0] if isinstance(said, list) else said)["logits"])
                session = onnxruntime.InferenceSession(f"{d}/cut.onnx", providers=["CPUExecutionProvider"])
                theirs = session.run(None, {session.get_inputs()[0].name: picture[None].astype(np.float32) / 255})[0][0]
                apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
                worst = max(worst, apart)
                print(f"{family:20} {' '.join(cut):45} {apart:.1e}", flush=True)
                if not apart <= 1e-4:
                    raise SystemExit(f"{family}: {' '.join(cut)}: {ours} against {theirs}")
    print(f"at most {worst:.1e} apart")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
