"""Prints what scripts/distill_cifar.sh and scripts/distill_flowers.sh have come to: the accuracies of each method over the
seeds, and seed by seed less those of scratch and of kd.

    python3 scripts/distill_table.py FOLDER
"""

import collections
import glob
import json
import os
import statistics
import sys

runs = collections.defaultdict(dict)
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*", "testing.json"))):
    name, _, seed = os.path.basename(os.path.dirname(path)).rpartition("-")
    figures = []
    for part in ("validation", "testing"):
        with open(os.path.join(os.path.dirname(path), part + ".json")) as f:
            figures.append(100 * json.load(f)["top1"])
    runs[name][seed] = figures


def spread(a):
    return f"{statistics.mean(a):6.2f} ± {statistics.stdev(a) if len(a) > 1 else 0:.2f}"


print(f"{'method':<10} {'seeds':>5}  {'validation %':>15}  {'testing %':>15}  {'testing less scratch':>20}  {'less kd':>14}")
for name, by in sorted(runs.items()):
    cells = [spread([f[k] for f in by.values()]) for k in (0, 1)]
    for base in ("scratch", "kd"):
        both = [by[s][1] - runs[base][s][1] for s in by if s in runs[base]] if base in runs else []
        cells.append(spread(both) if both and base != name else "-")
    print(f"{name:<10} {len(by):>5}  {cells[0]:>15}  {cells[1]:>15}  {cells[2]:>20}  {cells[3]:>14}")
