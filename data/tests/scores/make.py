"""Scores as scikit-learn computes them: needs scikit-learn.

    python make.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn import metrics as m

rng = np.random.default_rng(0)
n, classes = 60, 4
labels = rng.integers(0, 2, n)
# Rounded, so that there are ties.
scores = np.round(rng.normal(size=n) + labels, 1)
fpr, tpr, roc_thresholds = m.roc_curve(labels, scores)
precision, recall, pr_thresholds = m.precision_recall_curve(labels, scores)

target = rng.choice(classes, n, p=[0.1, 0.2, 0.3, 0.4])
logits = np.round(rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[target], 1)
probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
predicted = logits.argmax(1)
truth, guess = rng.normal(size=n) * 3 + 100, None
guess = truth + rng.normal(size=n)
p1 = 1 / (1 + np.exp(-scores))


def by_average(score):
    return {a: score(target, predicted, average=a) for a in ["macro", "micro", "weighted"]}


table = {
    "binary": {
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "roc_auc": m.roc_auc_score(labels, scores),
        "average_precision": m.average_precision_score(labels, scores),
        "log_loss": m.log_loss(labels, p1),
        "fpr": fpr.tolist(),
        "tpr": tpr.tolist(),
        "roc_thresholds": roc_thresholds.tolist()[1:],
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "pr_thresholds": pr_thresholds.tolist(),
    },
    "classes": {
        "target": target.tolist(),
        "logits": logits.tolist(),
        "precision": by_average(m.precision_score),
        "recall": by_average(m.recall_score),
        "f1": by_average(m.f1_score),
        "accuracy": m.accuracy_score(target, predicted),
        "log_loss": m.log_loss(target, probs),
        "roc_auc": {
            f"{k}_{a}": m.roc_auc_score(target, probs, multi_class=k, average=a)
            for k in ["ovr", "ovo"]
            for a in ["macro", "weighted"]
        },
    },
    "regression": {
        "truth": truth.tolist(),
        "guess": guess.tolist(),
        "mse": m.mean_squared_error(truth, guess),
        "mae": m.mean_absolute_error(truth, guess),
        "r2": m.r2_score(truth, guess),
    },
}
(Path(__file__).parent / "scores.json").write_text(json.dumps(table) + "\n")
