"""Makes layers/testdata/torchinfo.json: the multiply-adds of every family by
torchinfo.

    python scripts/golden_macs.py

It needs torch, torchvision and torchinfo. The nets are those of models.py and
families.py.
"""

import json
import os

import torch
import torchinfo

import families
import models

OUT = os.path.join(os.path.dirname(__file__), "..", "layers", "testdata", "torchinfo.json")


# torchinfo multiplies by the number of pixels for modules whose class is called
# Conv… alone: not for linear layers on pixels, nor for our own subclasses.
UNCOUNTED = {"convnext_tiny", "efficientnet_lite0", "mlperf_resnet8"}


def count(family, net, classes, size, base):
    info = torchinfo.summary(net.eval(), input_size=(1, 3, *size), verbose=0)
    return {"family": family, "classes": classes, "height": size[0], "width": size[1], "base": base or 0,
            "mult_adds": int(info.total_mult_adds), "params": int(info.total_params)}


def main():
    golden = []
    for family in models.MULTIPLIERS:
        for classes, size, base in [(11, (64, 64), None), (3, (96, 128), 12)]:
            golden.append(count(family, models.build(family, classes, base=base), classes, size, base))
    for family, (_, _, side) in families.FAMILIES.items():
        if family not in models.MULTIPLIERS and family not in UNCOUNTED:
            golden.append(count(family, families.build(family, 10), 10, (side, side), None))
    with open(OUT, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    print(f"torchinfo {torchinfo.__version__}, torch {torch.__version__}: {len(golden)} nets")


if __name__ == "__main__":
    main()
