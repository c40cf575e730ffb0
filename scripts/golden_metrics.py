"""Makes engine/metrics/testdata/golden.json: figures of classifiers by
scikit-learn and SciPy.

    python scripts/golden_metrics.py

It needs numpy, scipy and scikit-learn. The expected calibration error, which
scikit-learn has not, is that of Guo et al. as their own program computes it
(temperature_scaling.py): bins (lower, upper] of equal width.
"""

import json
import os
import warnings

import numpy as np
import scipy.stats
import sklearn
from sklearn import metrics

OUT = os.path.join(os.path.dirname(__file__), "..", "engine", "metrics", "testdata", "golden.json")


def ece(prob, label, bins=15):
    confidence, right = prob.max(axis=1), prob.argmax(axis=1) == label
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        within = (confidence > low) & (confidence <= high)
        if within.any():
            total += within.mean() * abs(right[within].mean() - confidence[within].mean())
    return total


def case(rng, classes, n, labels, sharp):
    """A random classifier; labels are those that the data have."""
    label = rng.choice(labels, n)
    logits = rng.normal(size=(n, classes)) * sharp
    logits[np.arange(n), label] += sharp * (rng.random(n) < 0.7) * 2
    logits = np.round(logits, 3).astype(np.float32)
    prob = scipy.special.softmax(logits.astype(np.float64), axis=1)
    guess = prob.argmax(axis=1)
    everything = np.arange(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            label, guess, labels=everything, zero_division=0)
        macro = metrics.f1_score(label, guess, average="macro", zero_division=0)
    right = int((guess == label).sum())
    interval = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
    return {
        "classes": classes, "labels": label.tolist(), "logits": [[float(f"{v:.3f}") for v in row] for row in logits],
        "top1": metrics.accuracy_score(label, guess), "interval": [interval.low, interval.high],
        "top5": metrics.top_k_accuracy_score(label, prob, k=5, labels=everything) if classes > 5 else None,
        "loss": metrics.log_loss(label, prob, labels=everything), "macro_f1": macro, "ece": ece(prob, label),
        "precision": precision.tolist(), "recall": recall.tolist(), "f1": f1.tolist(), "support": support.tolist(),
        "taken": np.bincount(guess, minlength=classes).tolist(),
        "confusion": metrics.confusion_matrix(label, guess, labels=everything).tolist(),
    }


def main():
    rng = np.random.default_rng(7)
    golden = {
        "made_by": f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}",
        "cases": [
            case(rng, 10, 60, range(10), 1.5),
            case(rng, 3, 40, range(3), 0.8),
            case(rng, 12, 30, [1, 2, 7], 4.0),  # data of a few of the classes
            case(rng, 2, 9, [0], 3.0),
        ],
        "wilson": [[k, n, *scipy.stats.binomtest(k, n).proportion_ci(method="wilson")]
                   for k, n in [(0, 1), (1, 1), (0, 500), (500, 500), (893, 1000), (7, 11), (9931, 10000)]],
        "t975": [[df, scipy.stats.t.ppf(0.975, df)] for df in [*range(1, 31), 31, 40, 100, 1000]],
        "percentile": [[x, p, float(np.percentile(x, 100 * p))]
                       for x in ([3.0, 1.0, 2.0], [5.0], [0.1, 0.9, 0.4, 0.2]) for p in (0, 0.1, 0.5, 0.9, 0.99, 1)],
        "spread": [[x, float(np.mean(x)), float(np.std(x, ddof=1))]
                   for x in ([0.879, 0.9, 0.886], [0.1, 0.1, 0.1], [0.021, 0.001, 0.006], [3.5, -2.25])],
    }
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
