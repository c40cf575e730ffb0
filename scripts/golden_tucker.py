"""Prints the errors of Tucker-2 by tensorly that distill/lowrank/tensorly_test.go holds
ours to: of weights that a formula gives, ‖W - what the factors make‖ over ‖W‖.

    pip install tensorly==0.9.0
    python scripts/golden_tucker.py
"""

import numpy as np
import tensorly as tl
from tensorly.decomposition import partial_tucker

# outputs, inputs, kernel, ranks of outputs and of inputs
CASES = [(16, 12, 3, 6, 5), (24, 16, 3, 4, 10), (20, 20, 5, 12, 3), (8, 32, 3, 8, 9)]


def weight(o, i, k):
    n = np.arange(o * i * k * k)
    noise = ((n * 7919 + n // 13 * 104729) % 1009) / 1009 - 0.5
    smooth = 2 * np.cos(np.arange(o)[:, None] * 0.37 + np.arange(i)[None] * 0.11)
    return (noise.reshape(o, i, k, k) + smooth[:, :, None, None]).astype(np.float32).astype(np.float64)


for o, i, k, r, s in CASES:
    w = weight(o, i, k)
    (core, factors), _ = partial_tucker(w, modes=[0, 1], rank=(r, s), init="svd", n_iter_max=1000, tol=1e-10)
    back = tl.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
    print(f"{{{o}, {i}, {k}, {r}, {s}, {np.linalg.norm(back - w) / np.linalg.norm(w)}}},")
