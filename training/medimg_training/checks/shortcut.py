"""What the two shortcut checks share: numbers that should not know the label, and the answer whether they do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .cells import Cells
from .model import CheckInput, CheckResult
from .separability import ALPHA, FEWEST_GROUPS, MATTERS, large_enough, separability


def judged(
    code: str, names: Sequence[str], features: NDArray[np.float64], groups: Sequence[str], data: CheckInput
) -> CheckResult:
    """The answer of a check whose features [n, d] are called `names` [d]; rows are labelled by data.rows' samples.

    features and groups are of data.rows in their order, so one row is one sample.
    """
    cells, classes = Cells.of(groups, data.labels), data.manifest.classes
    kept, few = large_enough(cells, classes)
    if len(kept) < 2:
        return CheckResult(code, "not applicable", "TOO_FEW_GROUPS", {"few": few, "least": FEWEST_GROUPS})
    telling, alone = most_telling(names, cells.means(features), cells.labels, kept)
    found = separability(features, cells, kept, permutations=data.permutations, seed=data.seed)
    numbers = {
        "statistic": "largest one-vs-rest AUC, out of fold by group",
        "auc": round(found.auc, 4),
        "auc_by_class": {classes[number]: round(auc, 4) for number, auc in found.by_class.items()},
        "threshold": MATTERS,
        "p": found.p,
        "alpha": ALPHA,
        "permutations": 0 if found.p is None else data.permutations,
        "null_mean": found.null_mean,
        "units": found.cells,
        "most_telling": telling,
        "auc_of_most_telling": round(alone, 4),
        "left_out": few,
    }
    p = "" if found.p is None else f"{found.p:.3f}"
    facts = {"auc": f"{found.auc:.2f}", "best": classes[found.best], "p": p, "units": found.cells, "telling": telling}
    return CheckResult.of(code, found.matters, facts | {"threshold": f"{MATTERS:.2f}"}, numbers)


def most_telling(
    names: Sequence[str], features: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[int]
) -> tuple[str, float]:
    """The feature that alone ranks some class best against the rest, and its AUC (of all units, nothing fitted)."""
    from scipy.stats import rankdata

    use = np.isin(labels, classes)
    ranks = rankdata(features[use], axis=0)
    best, name = 0.5, ""
    for label in classes:
        own = labels[use] == label
        positive, negative = own.sum(), (~own).sum()
        auc = (ranks[own].sum(axis=0) - positive * (positive + 1) / 2) / (positive * negative)
        apart = np.maximum(auc, 1 - auc)
        if apart.max() > best:
            best, name = float(apart.max()), names[int(apart.argmax())]
    return name, best
