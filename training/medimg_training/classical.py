"""Baselines without training a network: features that stay as they are, times classical heads.

What a deep model must beat. Everything is fitted on the fit rows; the other rows are only asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from MedImgClassifierLib.engine.preprocess import InputSpec

from .cache import Indices, PreparedSet
from .features import Encode, features_of, pixels, statistics
from .head_kinds import KINDS, ClassWeights, HeadKind
from .heads_fit import FittedHead, fit_head
from .intervals import Floats

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
    fit_rows: Indices,
    other_rows: Indices,
    *,
    encoders: Mapping[str, Encode] = WITHOUT_NETWORK,
    kinds: Sequence[HeadKind] = KINDS,
    class_weights: ClassWeights = "none",
) -> list[Baseline]:
    """A baseline for each encoder (name -> features.Encode) and each kind of head.

    Raises what fit_head raises, and ValueError for no rows.
    """
    labels, groups = prepared.labels[fit_rows], [prepared.groups[n] for n in fit_rows]
    found = []
    for name, encode in encoders.items():
        own = features_of(encode, prepared, fit_rows, spec)
        others = features_of(encode, prepared, other_rows, spec)
        for kind in kinds:
            fitted = fit_head(kind, own, labels, groups, len(prepared.classes), class_weights=class_weights)
            found.append(Baseline(name, fitted, fitted.head.decide(others)))
    return found
