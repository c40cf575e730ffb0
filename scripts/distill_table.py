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
for folder in sorted(glob.glob(os.path.join(sys.argv[1], "*-*"))):
    name, _, seed = os.path.basename(folder).rpartition("-")
    for part in ("validation", "testing"):
        path = os.path.join(folder, part + ".json")
        if os.path.exists(path):
            with open(path) as f:
                runs[name].setdefault(seed, {})[part] = 100 * json.load(f)["top1"]
# Differences are those of the testing part, where there is one.
judged = "testing" if any("testing" in figures for by in runs.values() for figures in by.values()) else "validation"


def spread(a):
    return f"{statistics.mean(a):6.2f} ± {statistics.stdev(a) if len(a) > 1 else 0:.2f}" if a else "-"


print(f"{'method':<10} {'seeds':>5}  {'validation %':>15}  {'testing %':>15}  {judged + ' less scratch':>23}  {'less kd':>14}")
for name, by in sorted(runs.items()):
    cells = [spread([f[part] for f in by.values() if part in f]) for part in ("validation", "testing")]
    for base in ("scratch", "kd"):
        both = [by[s][judged] - runs[base][s][judged] for s in by if judged in by[s] and judged in runs[base].get(s, {})] if base in runs and base != name else []
        cells.append(spread(both))
    print(f"{name:<10} {len(by):>5}  {cells[0]:>15}  {cells[1]:>15}  {cells[2]:>23}  {cells[3]:>14}")
