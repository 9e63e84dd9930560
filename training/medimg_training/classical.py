"""Baselines without training a network: features that stay as they are, times classical heads.

What a deep model must beat. Everything is fitted on the fit rows; the other rows are only asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from MedImgClassifierLib.engine.preprocess import InputSpec

from .cache import PreparedSet
from .evaluation.intervals import Floats
from .features import Encode, features_of, pixels, statistics
from .head_kinds import KINDS, ClassWeights, HeadKind
from .heads_fit import FittedHead, fit_head
from .roles import FitRows, Rows, indices_of, require_apart

WITHOUT_NETWORK: Mapping[str, Encode] = {"first_order": statistics, "pixels": pixels}


@dataclass(frozen=True)
class Baseline:
    """One pair of features and head. logits: [m, L] of the other rows, in their order."""

    features: str
    fitted: FittedHead
    logits: Floats


def run(
    prepared: PreparedSet,
    spec: InputSpec,
    fit_rows: FitRows,
    other_rows: Rows,
    *,
    encoders: Mapping[str, Encode] = WITHOUT_NETWORK,
    kinds: Sequence[HeadKind] = KINDS,
    class_weights: ClassWeights = "none",
) -> list[Baseline]:
    """A baseline for each encoder (name -> features.Encode) and each kind of head.

    Raises what fit_head raises, ValueError for no rows, TypeError for rows of another role than fit.
    """
    rows, other = indices_of(FitRows, fit_rows, prepared), indices_of(Rows, other_rows, prepared)
    require_apart(fit_rows, other_rows)
    labels = prepared.labels[rows]
    found = []
    for name, encode in encoders.items():
        own = features_of(encode, prepared, rows, spec)
        others = features_of(encode, prepared, other, spec)
        for kind in kinds:
            fitted = fit_head(kind, own, labels, fit_rows.groups, len(prepared.classes), class_weights=class_weights)
            found.append(Baseline(name, fitted, fitted.head.decide(others)))
    return found
