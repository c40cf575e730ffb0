#!/usr/bin/env python3
"""Quantizes a float ONNX model with ONNX Runtime's quantize_static, and measures it on a part of CIFAR-10.

    python scripts/quantize_ort.py MODEL.onnx DATA.tar.gz [--per-channel] [--method minmax|percentile|entropy] [--size 64]

needs onnxruntime==1.32.0, onnx, numpy and Pillow. DATA has PART/CLASS_NUMBER.png; 512 training images calibrate, those of
--part are judged. Pixels are divided by 255 and enlarged to --size without corners (Pillow's bilinear), as potstill's nets are fed.
Everything else is ONNX Runtime's default: its naive result. It prints the accuracy in float32 and in int8.
"""
import argparse
import io
import os
import random
import tarfile
import tempfile

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("data")
p.add_argument("--per-channel", action="store_true")
p.add_argument("--method", default="minmax", choices=["minmax", "percentile", "entropy"])
p.add_argument("--size", type=int, default=32)
p.add_argument("--part", default="testing")
p.add_argument("--images", type=int, default=512)
p.add_argument("--seed", type=int, default=1)
a = p.parse_args()

files = {"training": [], a.part: []}
with tarfile.open(a.data) as t:
    for m in t:
        path = m.name.split("/")
        if m.isfile() and len(path) >= 2 and path[-2] in files:
            files[path[-2]].append((m.name, int(path[-1].split("_")[0]), t.extractfile(m).read()))


def array(png):
    im = Image.open(io.BytesIO(png)).convert("RGB")
    if im.size != (a.size, a.size):
        im = im.resize((a.size, a.size), Image.BILINEAR)
    return np.asarray(im, np.float32).transpose(2, 0, 1)[None] / np.float32(255)


random.seed(a.seed)
calibration = [array(png) for _, _, png in random.sample(sorted(files["training"]), a.images)]


class Reader(CalibrationDataReader):
    def __init__(self, name):
        self.rest = iter([{name: x} for x in calibration])

    def get_next(self):
        return next(self.rest, None)


def accuracy(path):
    s = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = s.get_inputs()[0].name
    right = sum(int(np.argmax(s.run(None, {name: array(png)})[0])) == c for _, c, png in files[a.part])
    return 100 * right / len(files[a.part])


with tempfile.TemporaryDirectory() as d:
    ready, quantized = os.path.join(d, "ready.onnx"), os.path.join(d, "int8.onnx")
    quant_pre_process(a.model, ready)
    name = ort.InferenceSession(ready, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    method = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile, "entropy": CalibrationMethod.Entropy}[a.method]
    quantize_static(ready, quantized, Reader(name), per_channel=a.per_channel, calibrate_method=method)
    kind = "per channel" if a.per_channel else "per tensor"
    print(f"ONNX Runtime {ort.__version__}, {kind}, {a.method}: {accuracy(ready):.2f} % in float32, {accuracy(quantized):.2f} % in int8")
