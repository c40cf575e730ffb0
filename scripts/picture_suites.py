#!/usr/bin/env python3
"""Compares Potstill's decoding with Pillow's over all pictures in some folders.

    picture_suites.py PROGRAM FOLDER...

PROGRAM is scripts/pictures, built. See picture_suites.sh.
"""
import collections
import json
import os
import subprocess
import sys
import warnings

import numpy as np
from PIL import Image

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
Image.MAX_IMAGE_PIXELS = 50_000_000  # twice as many are an error, as to Potstill
warnings.simplefilter("ignore")


def ours(program, path):
    """What Potstill gives: an array or None, and notes or an error."""
    program.stdin.write((path + "\n").encode())
    program.stdin.flush()
    head = json.loads(program.stdout.readline())
    if "error" in head:
        return None, head["error"]
    h, w = head["h"], head["w"]
    a = np.frombuffer(program.stdout.read(h * w * 3), np.uint8).reshape(h, w, 3)
    return a, "; ".join(head.get("notes", []))


def pillows(path):
    try:
        with Image.open(path) as im:
            return np.asarray(im.convert("RGB")), ""
    except Exception as e:  # noqa: BLE001 - Pillow raises many kinds
        return None, repr(e)


def main():
    program = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    counts = collections.Counter()
    for root in sys.argv[2:]:
        for folder, dirs, names in os.walk(root):
            dirs.sort()
            for name in sorted(names):
                if not name.lower().endswith(ENDINGS):
                    continue
                path = os.path.join(folder, name)
                a, said = ours(program, path)
                b, error = pillows(path)
                kind, line = compare(a, b, said, error)
                counts[os.path.splitext(name)[1].lower(), kind] += 1
                if line:
                    print(f"{path}: {line}")
    print()
    for (ending, kind), n in sorted(counts.items()):
        print(f"{ending:6} {kind:20} {n:5}")


def compare(a, b, said, error):
    if a is None and b is None:
        return "read by neither", ""
    if a is None:
        return "read by Pillow alone", f"read by Pillow alone: {said}"
    if b is None:
        return "read by ours alone", f"read by ours alone: {error}"
    if a.shape != b.shape:
        return "of another size", f"{a.shape}, Pillow {b.shape}"
    if np.array_equal(a, b):
        return "equal", ""
    d = int((np.maximum(a, b) - np.minimum(a, b)).max())
    share = (a != b).any(2).mean()
    line = f"differs by up to {d} levels in {share:.2%} of pixels ({said or 'no notes'})"
    if "16-bit gray" in said:
        return "16-bit gray", line
    return ("within 4 levels" if d <= 4 else "differs"), line


main()
