"""Makes layers/testdata/torchinfo.json: the multiply-adds of every family by
torchinfo.

    python scripts/golden_macs.py

It needs torch and torchinfo. The nets are those of models.py.
"""

import json
import os

import torch
import torchinfo

import models

OUT = os.path.join(os.path.dirname(__file__), "..", "layers", "testdata", "torchinfo.json")


def main():
    golden = []
    for family in models.MULTIPLIERS:
        for classes, size, base in [(11, (64, 64), None), (3, (96, 128), 12)]:
            net = models.build(family, classes, base=base).eval()
            info = torchinfo.summary(net, input_size=(1, 3, *size), verbose=0)
            golden.append({"family": family, "classes": classes, "height": size[0], "width": size[1], "base": base or 0,
                           "mult_adds": int(info.total_mult_adds), "params": int(info.total_params)})
    with open(OUT, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    print(f"torchinfo {torchinfo.__version__}, torch {torch.__version__}: {len(golden)} nets")


if __name__ == "__main__":
    main()
