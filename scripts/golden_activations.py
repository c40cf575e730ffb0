"""Writes engine/ref/testdata/activations.json: what PyTorch's activations, PReLU,
softmax and element-wise functions give in float64, and their gradients, at the
corners too.

    python3 scripts/golden_activations.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F

# At the corners of the pieces, and where the functions have long been straight.
POINTS = [-100, -10, -3, -2.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2.5, 3, 6, 10, 25, 100]
POSITIVE = [0.01, 0.25, 0.5, 1, 2.5, 10, 100]

ACTIVATIONS = {
    "ReLU": F.relu,
    "ReLU6": F.relu6,
    "Clip(-0.5,2.5)": lambda x: F.hardtanh(x, -0.5, 2.5),
    "LeakyReLU(0.25)": lambda x: F.leaky_relu(x, 0.25),
    "LeakyReLU(-0.5)": lambda x: F.leaky_relu(x, -0.5),
    "ThresholdedReLU(1)": lambda x: F.threshold(x, 1, 0),
    "HardSwish": F.hardswish,
    "Abs": torch.abs,
    "Neg": torch.neg,
    "Softsign": F.softsign,
    "Exp": torch.exp,
    "ELU(1)": F.elu,
    "ELU(0.5)": lambda x: F.elu(x, 0.5),
    "CELU(2)": lambda x: F.celu(x, 2),
    "SELU": F.selu,
    "Sigmoid": torch.sigmoid,
    "SiLU": F.silu,
    "Tanh": torch.tanh,
    "GELU": F.gelu,
    "GELUTanh": lambda x: F.gelu(x, approximate="tanh"),
    "Mish": F.mish,
    "Softplus(1,20)": F.softplus,
    "Softplus(2,5)": lambda x: F.softplus(x, 2, 5),
    "Erf": torch.erf,
    "Pow(2)": lambda x: torch.pow(x, 2),
    "Pow(3)": lambda x: torch.pow(x, 3),
}
OF_POSITIVE = {
    "Reciprocal": torch.reciprocal,
    "Sqrt": torch.sqrt,
    "Log": torch.log,
    "Pow(0.5)": lambda x: torch.pow(x, 0.5),
    "Pow(-1.5)": lambda x: torch.pow(x, -1.5),
}


def case(f, points):
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = f(x)
    y.sum().backward()
    return {"x": points, "y": y.tolist(), "slope": x.grad.tolist()}


def main():
    out = {name: case(f, POINTS) for name, f in ACTIVATIONS.items()}
    out |= {name: case(f, POSITIVE) for name, f in OF_POSITIVE.items()}
    path = pathlib.Path(__file__).parent.parent / "engine/ref/testdata/activations.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(f' "{name}": {json.dumps(c)}' for name, c in out.items()) + "\n}\n")
    print(path, len(out), "functions, torch", torch.__version__)


if __name__ == "__main__":
    main()
