"""Makes engine/data/testdata/randaugment.json: what torchvision's RandAugment
makes of a picture by each of its operations, and its gray middle of 11x19.

    python scripts/golden_augment.py

It needs torch, torchvision, numpy and Pillow.
"""

import base64
import json
import pathlib

import numpy as np
import torchvision
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.autoaugment import _apply_op

OUT = pathlib.Path(__file__).resolve().parent.parent / "engine/data/testdata/randaugment.json"


def picture(rng, h, w):
    """A smooth color field with noise, of few values in one channel."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([20 + x * 150 / (w - 1), y * 255 / (h - 1), 90 + (x + y) % 7 * 8], -1)
    a[..., :2] += rng.normal(0, 25, (h, w, 2))
    return np.clip(a, 0, 255).astype(np.uint8)


def b64(a):
    return base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()


def main():
    rng = np.random.default_rng(3)
    src = picture(rng, 17, 23)
    image = Image.fromarray(src)
    space = RandAugment()._augmentation_space(31, (17, 23))
    cases = []
    for kind, (op, (magnitudes, signed)) in enumerate(space.items()):
        for strength in (9, 30):
            for sign in (1, -1) if signed else (1,):
                m = float(magnitudes[strength]) if magnitudes.ndim > 0 else 0.0
                out = _apply_op(image, op, m * sign, InterpolationMode.NEAREST, None)
                cases.append({"op": op, "kind": kind, "strength": strength, "sign": sign, "out": b64(np.asarray(out))})
    gray = F.center_crop(F.to_grayscale(image, 1), [11, 19])
    OUT.write_text(json.dumps({"h": 17, "w": 23, "pix": b64(src), "cases": cases, "gray": b64(np.asarray(gray))}) + "\n")
    print(f"torchvision {torchvision.__version__}: {len(cases)} cases, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
