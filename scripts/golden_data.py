#!/usr/bin/env python3
"""Writes engine/data/testdata/golden.json: small pictures, and what torchvision
and PIL make of them. Needs torch, torchvision, numpy and Pillow.

    python3 scripts/golden_data.py
"""
import base64
import io
import json
import pathlib

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop

OUT = pathlib.Path(__file__).resolve().parent.parent / "engine/data/testdata/golden.json"
rng = np.random.default_rng(7)


def picture(h, w):
    """A smooth color field with noise and a few hard edges."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 255 / max(w - 1, 1), y * 255 / max(h - 1, 1), (x * 13 + y * 7) % 256], -1)
    a += rng.normal(0, 25, a.shape)
    a[h // 4 : h // 2, w // 3 : w // 2] = (250, 10, 30)
    return np.clip(a, 0, 255).astype(np.uint8)


def b64(a):
    return base64.b64encode(a if isinstance(a, bytes) else np.ascontiguousarray(a).tobytes()).decode()


def rec(a):
    return {"h": a.shape[0], "w": a.shape[1], "pix": b64(a)}


pics = [picture(19, 23), picture(31, 17), picture(8, 8), picture(33, 40), picture(5, 9)]
ims = [Image.fromarray(p) for p in pics]
cases = []


def case(op, src, out, args=()):
    cases.append({"op": op, "src": src, "args": list(args), "out": rec(np.asarray(out))})


for i, im in enumerate(ims):
    for s in (8, 13, 16, 32):
        case("center_crop", i, F.center_crop(im, [s, s]), [s])
    for s in (4, 7, 16, 24):
        case("resize", i, F.resize(im, [s], InterpolationMode.BILINEAR, antialias=True), [s])
for i in (2, 3):
    for a in (-15, -7.3, 0.4, 11.125, 15, 45, 90, 180):
        im = ims[i].crop((0, 0, 31, 31)) if i == 3 else ims[i]
        case("rotate", i, F.rotate(im, a, InterpolationMode.NEAREST), [a, im.size[0]])
for i in (0, 3):
    for f in (0.0, 0.35, 1.0, 1.7):
        case("brightness", i, F.adjust_brightness(ims[i], f), [f])
        case("contrast", i, F.adjust_contrast(ims[i], f), [f])
        case("saturation", i, F.adjust_saturation(ims[i], f), [f])
    for f in (-0.5, -0.13, 0.02, 0.4):
        case("hue", i, F.adjust_hue(ims[i], f), [f])
for i, end in ((0, [[2, 1], [20, 3], [21, 15], [1, 17]]), (3, [[0, 4], [35, 0], [30, 30], [9, 26]])):
    h, w = pics[i].shape[:2]
    start = [[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]]
    case("perspective", i, F.perspective(ims[i], start, end, InterpolationMode.BILINEAR, 0), sum(end, []))
for i, box in ((0, (3, 2, 11, 14)), (3, (10, 5, 20, 30))):
    case("resized_crop", i, F.resized_crop(ims[i], *box, [16, 16], InterpolationMode.BILINEAR, antialias=True), box)

pads = []
for n, pad, size in ((5, 0, 5), (5, 0, 8), (5, 3, 8), (5, 2, 20), (3, 7, 9), (28, 0, 30), (1, 0, 4), (40, 0, 32)):
    line = np.arange(n, dtype=np.uint8)[None, :, None].repeat(3, 2)
    im = Image.fromarray(line)
    if pad:
        im = F.pad(im, [pad, 0], padding_mode="symmetric")
    if im.size[0] < size:
        im = F.pad(im, [size - im.size[0], 0], padding_mode="symmetric")
    pads.append({"n": n, "pad": pad, "size": size, "line": np.asarray(im)[0, :, 0].tolist()})

mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
t = F.normalize(F.to_tensor(ims[2]), mean, std)
norm = {"src": 2, "mean": mean, "std": std, "out": t.permute(1, 2, 0).flatten().tolist()}
plain = F.to_tensor(ims[2]).permute(1, 2, 0).flatten().tolist()




central = []
for h, w in ((10, 100), (100, 10), (20, 20), (7, 50)):
    # A scale range of exactly 4 never fits, which leaves the central part.
    i, j, hh, ww = RandomResizedCrop.get_params(torch.zeros(3, h, w), [4.0, 4.0], [3 / 4, 4 / 3])
    central.append([h, w, i, j, hh, ww])

files = []


def encode(name, im, **kw):
    buf = io.BytesIO()
    im.save(buf, kw.pop("format"), **kw)
    dec = np.asarray(Image.open(io.BytesIO(buf.getvalue())).convert("RGB"))
    files.append({"name": name, "file": b64(buf.getvalue()), "out": rec(dec)})


big = Image.fromarray(picture(37, 45))
even = Image.fromarray(picture(32, 48))
for q in (75, 95):
    for name, sub in (("444", 0), ("422", 1), ("420", 2)):
        encode(f"jpeg{name}-q{q}-odd", big, format="JPEG", quality=q, subsampling=sub)
        encode(f"jpeg{name}-q{q}-even", even, format="JPEG", quality=q, subsampling=sub)
encode("jpeg-progressive", big, format="JPEG", quality=85, progressive=True)
encode("jpeg-grey", big.convert("L"), format="JPEG", quality=85)
encode("jpeg-tiny", Image.fromarray(picture(3, 3)), format="JPEG", quality=90)
encode("jpeg-1x1", Image.fromarray(picture(1, 1)), format="JPEG", quality=90)
encode("jpeg-cmyk", even.convert("CMYK"), format="JPEG", quality=95)
encode("png-rgb", big, format="PNG")
rgba = big.convert("RGBA")
rgba.putalpha(Image.fromarray(np.linspace(0, 255, 37 * 45).reshape(37, 45).astype(np.uint8)))
encode("png-rgba", rgba, format="PNG")
encode("png-grey", big.convert("L"), format="PNG")
encode("png-greyalpha", rgba.convert("LA"), format="PNG")
encode("png-palette", big.quantize(16), format="PNG")
encode("png-1bit", big.convert("1"), format="PNG")

OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(
    json.dumps(
        {
            "pictures": [rec(p) for p in pics],
            "cases": cases,
            "pads": pads,
            "normalize": norm,
            "to_tensor": plain,
            "central": central,
            "files": files,
        },
        separators=(",", ":"),
    )
    + "\n"
)
print(OUT, OUT.stat().st_size, "bytes")
