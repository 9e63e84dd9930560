"""Figures of confusion matrices, for any number of matrices at once."""

from __future__ import annotations

import numpy as np

from .intervals import Floats, exact_low

CLASS_FIGURES = ("recall", "specificity", "precision", "F1")
FEWER_IS_BETTER = ("mean absolute error",)


def table_figures(cells: Floats) -> dict[str, Floats]:
    """Figures of confusion matrices [..., L, L] (true, called): of a class [..., L], of all [...]; NaN: undefined.

    Averages are over the classes that have images; one that is never called has precision 0 in the average. MCC of
    more than two classes is Gorodkin's R_K (2004, Comput Biol Chem 28:367). The last two take the classes as ordered:
    mean absolute error counts how many classes apart; kappa has quadratic weights (Cohen 1968, Psychol Bull 70:213).
    """
    count = cells.shape[-1]
    hits = np.diagonal(cells, axis1=-2, axis2=-1)
    true, called, n = cells.sum(-1), cells.sum(-2), cells.sum((-2, -1))
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / true
        specificity = 1 - (called - hits) / (n[..., None] - true)
        precision = hits / called
        f1 = np.where(true > 0, 2 * hits / (true + called), np.nan)
        in_average = np.where(true > 0, np.where(called > 0, precision, 0), np.nan)
        right = hits.sum(-1)
        spread = (n**2 - (called**2).sum(-1)) * (n**2 - (true**2).sum(-1))
        by_chance = (true[..., :, None] * called[..., None, :] * apart**2).sum((-2, -1)) / n
        return {
            "accuracy": right / n,
            "balanced accuracy": _mean(recall),
            "macro specificity": _mean(np.where(true > 0, specificity, np.nan)),
            "macro precision": _mean(in_average),
            "macro F1": _mean(f1),
            "MCC": (right * n - (called * true).sum(-1)) / np.sqrt(np.where(spread > 0, spread, np.nan)),
            "recall": recall,
            "specificity": specificity,
            "precision": precision,
            "F1": f1,
            "mean absolute error": (cells * apart).sum((-2, -1)) / n,
            "quadratic-weighted kappa": 1 - (cells * apart**2).sum((-2, -1)) / by_chance,
        }


def perfect_bounds(images: Floats, groups: Floats) -> dict[str, Floats]:
    """The figures that a perfect result cannot rule out, from images and groups [L] of each class.

    A class with k groups, all right, has a recall of at least 0.025^(1/k). Each class at that bound in turn, and all
    of them together at 1/sqrt(L) of the way (as in MOVER), with the misses spread over the other classes: of these
    matrices the worst value of each figure counts.
    """
    count = len(images)
    missed = np.array([1 - exact_low(int(k)) for k in groups])
    shares = np.vstack([np.diag(missed), missed / np.sqrt(count)])
    cells = shares[:, :, None] * (images / (count - 1))[None, :, None] * (1 - np.eye(count))
    cells += ((1 - shares) * images)[:, :, None] * np.eye(count)
    figures = table_figures(cells)
    return {
        name: values.max(axis=0) if name in FEWER_IS_BETTER else np.nanmin(np.nan_to_num(values, nan=np.inf), axis=0)
        for name, values in figures.items()
    }


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what is defined, NaN of nothing."""
    defined = np.isfinite(values)
    return np.asarray(np.where(defined, values, 0).sum(-1) / defined.sum(-1))
