#!/usr/bin/env python3
"""Writes distill/quant/observe/testdata/onnxruntime.json: the ranges, scales and zero points of ONNX Runtime 1.32.

    python scripts/golden_observers.py        # needs onnxruntime==1.32.0 and numpy

Ranges and values are drawn by a generator that distill/quant/observe/golden_test.go has too, so that only results are stored;
those of 5,000 random ranges as a checksum.
"""
import contextlib
import hashlib
import io
import json
import os
import struct
import warnings

import numpy as np
import onnxruntime
from onnxruntime.quantization.calibrate import HistogramCollector, MinMaxCalibrater, TensorsData, CalibrationMethod
from onnxruntime.quantization.quant_utils import compute_scale_zp

assert onnxruntime.__version__.startswith("1.32."), onnxruntime.__version__
MASK = (1 << 64) - 1
f32 = np.float32


class Random:
    """SplitMix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def bits(self):
        """A finite float32 of any size."""
        while True:
            v = struct.unpack("<f", struct.pack("<I", self.next() >> 32))[0]
            if v - v == 0:
                return f32(v)

    def unit(self):
        """A float32 from -1 up to 1."""
        return f32((self.next() >> 40) - (1 << 23)) / f32(1 << 23)


def word(v):
    return struct.unpack("<I", struct.pack("<f", float(v)))[0]


TYPES = {"int8": (-128, 127, np.int8), "int8_symmetric": (-127, 127, np.int8), "int8_reduced": (-64, 64, np.int8),
         "uint8": (0, 255, np.uint8), "uint8_reduced": (0, 127, np.uint8), "int4": (-8, 7, np.int8)}
SETTINGS = [(t, s) for t in TYPES for s in (False, True)]


def scale(lo, hi, kind, symmetric):
    qmin, qmax, dtype = TYPES[kind]
    z, s = compute_scale_zp(np.array(lo, f32), np.array(hi, f32), np.array(qmin, dtype), np.array(qmax, dtype), symmetric)
    return word(f32(s)), int(z)


def scales():
    r = Random(1)
    sums = {f"{t}/{s}": hashlib.sha256() for t, s in SETTINGS}
    for i in range(5000):
        a, b = (r.bits(), r.bits()) if i % 2 == 0 else (r.unit(), r.unit())
        lo, hi = min(a, b), max(a, b)
        for t, s in SETTINGS:
            sums[f"{t}/{s}"].update(struct.pack("<Ii", *scale(lo, hi, t, s)))
    extremes = [0.0, 1e-45, 1.1754944e-38, 1e-36, 1e-20, 1.0, 6.0, 255.0, 1e30, 3.4028235e38]
    rows = []
    for lo in extremes:
        for hi in extremes:
            for a, b in {(-lo, hi), (min(lo, hi), max(lo, hi)), (-max(lo, hi), -min(lo, hi))}:
                for t, s in SETTINGS:
                    rows.append(scale(f32(a), f32(b), t, s))
    digest = hashlib.sha256(b"".join(struct.pack("<Ii", *x) for x in sorted(rows))).hexdigest()
    return {"random": {k: v.hexdigest() for k, v in sums.items()}, "extreme": digest}


SHAPES = {
    "cube": lambda u: u * u * u,
    "peak": lambda u: u / (f32(1.001) - u * u),
    "relu": lambda u: np.maximum(u * u * u, f32(0)),
    "positive": lambda u: u * u + f32(1),
    "negative": lambda u: -(u * u),
    "steps": lambda u: np.floor(u * f32(4)) / f32(4),
    "zero": lambda u: u * f32(0),
    "constant": lambda u: u * f32(0) + f32(0.3),
}
# Each batch is (shape, values, factor).
CASES = [
    [("cube", 3000, 1.0)],
    [("cube", 3000, 1.0), ("cube", 3000, 2.5), ("peak", 500, 0.01)],
    [("peak", 4000, 1.0), ("peak", 4000, 1.0), ("peak", 4000, 1.0)],
    [("relu", 2000, 6.0), ("relu", 2000, 5.0), ("relu", 2000, 7.3)],
    [("positive", 2000, 1.0), ("positive", 1000, 3.0)],
    [("negative", 2000, 1.0), ("negative", 1000, 1.7)],
    [("steps", 2000, 1.0), ("steps", 1000, 1.1)],
    [("zero", 100, 1.0)],
    [("zero", 100, 1.0), ("cube", 3000, 1.0)],
    [("constant", 100, 1.0), ("constant", 100, 2.0)],
    [("cube", 3000, 1e-30), ("cube", 3000, 1.3e-30)],
    [("cube", 3000, 1e30), ("cube", 3000, 1.5e30)],
    [("cube", 1, 1.0), ("cube", 5000, 0.25)],
]
COLLECTORS = {"percentile": [(s, b, p) for s in (False, True) for b in (2048, 512) for p in (99.999, 99.9, 99.0)],
              "entropy": [(False, b, 0) for b in (128, 512)]}


def observers():
    out = []
    for n, case in enumerate(CASES):
        r = Random(100 + n)
        batches = []
        for shape, values, factor in case:
            u = np.array([r.unit() for _ in range(values)], f32)
            batches.append(SHAPES[shape](u) * f32(factor))
            assert batches[-1].dtype == f32
        got = {}
        for symmetric in (False, True):
            lo = min(b.min() for b in batches)
            hi = max(b.max() for b in batches)
            if symmetric:
                hi = max(abs(lo), abs(hi))
                lo = -hi
            got[f"minmax/{symmetric}"] = [word(lo), word(hi)]
        c = MinMaxCalibrater.__new__(MinMaxCalibrater)
        c.moving_average, c.averaging_constant = True, 0.01
        ranges = None
        for b in batches:
            fresh = TensorsData(CalibrationMethod.MinMax, {"x": (b.min(), b.max())})
            ranges = c.merge_range(ranges, fresh) if ranges is not None else fresh
        got["moving/False"] = [word(v) for v in ranges["x"].range_value]
        for method, settings in COLLECTORS.items():
            for symmetric, bins, p in settings:
                h = HistogramCollector(method, symmetric, bins, 128, p, "same")
                key = f"{method}/{symmetric}/{bins}/{p}"
                try:
                    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        for b in batches:
                            h.collect({"x": b})
                        if method == "entropy" and len(h.histogram_dict["x"][0]) > 1200:
                            continue  # its time grows with the square
                        got[key] = [word(v) for v in h.compute_collection_result()["x"][:2]]
                except Exception as e:  # what NumPy refuses is nothing to be equal to
                    print(n, key, e)
        out.append({"batches": case, "ranges": got})
    return out


path = os.path.join(os.path.dirname(__file__), "..", "distill", "quant", "observe", "testdata", "onnxruntime.json")
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "w") as f:
    json.dump({"onnxruntime": onnxruntime.__version__, "scales": scales(), "observers": observers()}, f, indent=1)
    f.write("\n")
