"""Writes engine/ref/testdata/pads.json: what PyTorch's padding layers and local
response norm give in float64, and their gradients for some dy.

    python3 scripts/golden_pads.py

Inputs are the small fractions of engine/ref/golden_test.go, [N,H,W,C] there.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

# Modes with the padding in PyTorch's order: left, right, top, bottom.
PADS = [("constant", p, v) for p, v in [([1, 0, 2, 3], -2.5), ([2, 2, 2, 2], 0)]]
PADS += [(mode, p, 0) for mode in ("reflect", "replicate") for p in ([1, 1, 1, 1], [3, 0, 1, 2])]
NORMS = [(5, 1e-2, 0.75, 1), (2, 2, 0.5, 0.5), (4, 1, 1.5, 2), (9, 0.5, 1, 1)]  # size, alpha, beta, k


def sequence(a, m, *shape):
    n = torch.tensor(shape).prod().item()
    return torch.tensor([(i * a % m - m // 2) / 4 for i in range(n)], dtype=torch.float64).reshape(shape)


def case(f, x, **settings):
    """f works on [N,C,H,W]."""
    x.requires_grad_()
    y = f(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    y.backward(sequence(5, 13, *y.shape))
    return settings | {"y": y.flatten().tolist(), "dx": x.grad.flatten().tolist()}


def main():
    out = {"pads": [], "norms": []}
    for mode, pad, value in PADS:
        out["pads"].append(case(lambda x: F.pad(x, pad, mode, value) if mode == "constant" else F.pad(x, pad, mode),
                                sequence(7, 11, 1, 3, 4, 2), mode=mode, pad=pad, value=value))
    for size, alpha, beta, k in NORMS:
        out["norms"].append(case(lambda x: F.local_response_norm(x, size, alpha, beta, k),
                                 sequence(7, 11, 1, 2, 1, 6), size=size, alpha=alpha, beta=beta, k=k))
    path = pathlib.Path(__file__).parent.parent / "engine/ref/testdata/pads.json"
    lines = [f' "{kind}": [\n  ' + ",\n  ".join(map(json.dumps, cases)) + "\n ]" for kind, cases in out.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, len(PADS), "pads,", len(NORMS), "norms, torch", torch.__version__)


if __name__ == "__main__":
    main()
