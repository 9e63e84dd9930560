"""Each kind of head with one setting: fitted by scikit-learn, kept as plain arrays that engine/heads.py runs.

Scaling and PCA are affine, so that with a linear classifier behind them they fold into its weights: logistic regression
and the linear SVM become a LinearHead, which can take the place of a network's last layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.distance_heads import NearestNeighbourHead, RbfSvmHead, Standardiser
from MedImgClassifierLib.engine.head_arrays import per_label
from MedImgClassifierLib.engine.heads import AnyHead, LinearHead
from MedImgClassifierLib.engine.tree_head import BoostingHead

from .cache import Indices
from .evaluation.intervals import Floats

HeadKind = Literal["logistic", "linear_svm", "rbf_svm", "nearest_neighbours", "boosting"]
KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
ClassWeights = Literal["none", "balanced"]
Setting = Mapping[str, Any]

# A feature that varies by less than this part of its mean varies by little more than float32's rounding.
_LEAST_VARIATION = 1e-5
_ITERATIONS = 5000


def fit_one(
    kind: HeadKind,
    features: NDArray[np.float32],
    labels: Indices,
    classes: int,
    setting: Setting,
    weights: ClassWeights,
) -> AnyHead:
    """A head of a kind with one setting. features [n, D]; labels [n], each of the classes at least once."""
    balance = "balanced" if weights == "balanced" else None
    return _FITTERS[kind](features.astype(np.float64), labels, classes, setting, balance)


def standardiser(features: Floats, pca: int | None) -> Standardiser:
    """Mean 0 and variance 1 of each feature, then the first `pca` principal components of those."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    centre, deviation = scaler.mean_, np.sqrt(scaler.var_)
    varies = deviation > _LEAST_VARIATION * np.abs(centre)
    factor = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
    if pca is None:
        return Standardiser(centre, factor)
    components = PCA(min(pca, *features.shape), svd_solver="full").fit((features - centre) * factor).components_
    return Standardiser(centre, factor, np.ascontiguousarray(components))


def folded(before: Standardiser, coefficients: Floats, intercept: Floats) -> LinearHead:
    """The linear head on raw features that gives what coefficients [K, P] and intercept [K] give on standardised
    ones; K is 1 for two classes, else L."""
    projected = coefficients if before.projection is None else coefficients @ before.projection
    weight = projected * before.factor
    bias = intercept - weight @ before.centre
    both = per_label(np.column_stack([weight, bias]).T).T  # [L, D + 1]
    return LinearHead(np.ascontiguousarray(both[:, :-1], np.float32), both[:, -1].astype(np.float32))


def _logistic(features: Floats, labels: Indices, classes: int, setting: Setting, balance: str | None) -> AnyHead:
    from sklearn.linear_model import LogisticRegression

    before = standardiser(features, setting["pca"])
    model = LogisticRegression(C=setting["C"], class_weight=balance, max_iter=_ITERATIONS)
    model.fit(before.apply(features), labels)
    return folded(before, model.coef_, model.intercept_)


def _linear_svm(features: Floats, labels: Indices, classes: int, setting: Setting, balance: str | None) -> AnyHead:
    from sklearn.svm import LinearSVC

    before = standardiser(features, setting["pca"])
    # dual=False: the other solver draws at random
    model = LinearSVC(C=setting["C"], class_weight=balance, dual=False, max_iter=_ITERATIONS)
    model.fit(before.apply(features), labels)
    return folded(before, model.coef_, model.intercept_)


def _rbf_svm(features: Floats, labels: Indices, classes: int, setting: Setting, balance: str | None) -> AnyHead:
    """One machine a class against the rest, for their decision values change smoothly; libsvm's own votes of pairs
    jump. setting: gamma in parts of 1 / P."""
    from sklearn.svm import SVC

    before = standardiser(features, setting["pca"])
    inputs, gamma = before.apply(features), setting["gamma"] / before.width
    dual = np.zeros((1 if classes == 2 else classes, len(inputs)))
    intercept = np.zeros(len(dual))
    for output in range(len(dual)):
        positive = 1 if classes == 2 else output
        model = SVC(C=setting["C"], gamma=gamma, class_weight=balance).fit(inputs, labels == positive)
        dual[output, model.support_] = model.dual_coef_[0]
        intercept[output] = model.intercept_[0]
    used = np.flatnonzero(dual.any(axis=0))
    return RbfSvmHead(before, inputs[used], np.ascontiguousarray(dual[:, used]), intercept, float(gamma))


def _neighbours(features: Floats, labels: Indices, classes: int, setting: Setting, balance: str | None) -> AnyHead:
    """Fitting is keeping; scikit-learn's KNeighborsClassifier finds the same neighbours."""
    before = standardiser(features, setting["pca"])
    counts = np.bincount(labels, minlength=classes)
    weight = len(labels) / (classes * counts) if balance else np.ones(classes)
    return NearestNeighbourHead(
        before,
        before.apply(features).astype(np.float32),
        labels.astype(np.int32),
        weight.astype(np.float64),
        k=min(setting["k"], len(labels)),
        distance=setting["distance"],
        temperature=setting["temperature"],
        smoothing=1.0,
    )


def _boosting(features: Floats, labels: Indices, classes: int, setting: Setting, balance: str | None) -> AnyHead:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=setting["learning_rate"],
        max_iter=setting["trees"],
        max_leaf_nodes=setting["leaves"],
        min_samples_leaf=max(1, min(20, len(labels) // 10)),
        early_stopping=False,  # which would set images apart without regard to groups
        class_weight=balance,
        random_state=0,
    )
    return trees_of(model.fit(features, labels), features.shape[1])


def trees_of(model: Any, features: int) -> BoostingHead:
    """The trees of a fitted HistGradientBoostingClassifier without categories, as one list of nodes.

    features: D. scikit-learn has no public way to them (a test compares every answer).
    """
    nodes, roots, outputs, start = [], [], [], 0
    for iteration in model._predictors:
        for output, tree in enumerate(iteration):
            own = tree.nodes
            if own["is_categorical"].any():
                raise ValueError("trees that split by categories")
            nodes.append((start, own))
            roots.append(start)
            outputs.append(output)
            start += len(own)
    every = np.concatenate([own for _, own in nodes])
    offset = np.concatenate([np.full(len(own), first) for first, own in nodes])
    leaf, here = every["is_leaf"].astype(bool), np.arange(len(every))
    return BoostingHead(
        feature=np.where(leaf, 0, every["feature_idx"]).astype(np.int32),
        # one that nothing exceeds is +inf in scikit-learn: only missing values go right there
        threshold=np.where(leaf, 0, np.minimum(every["num_threshold"], np.finfo(np.float64).max)),
        missing_left=every["missing_go_to_left"].astype(np.uint8),
        left=np.where(leaf, here, every["left"].astype(np.int64) + offset).astype(np.int32),
        right=np.where(leaf, here, every["right"].astype(np.int64) + offset).astype(np.int32),
        value=every["value"].astype(np.float64),
        root=np.array(roots, np.int32),
        output=np.array(outputs, np.int32),
        baseline=np.array(model._baseline_prediction, np.float64).reshape(-1),
        read_features=features,
    )


_FITTERS: Mapping[HeadKind, Callable[[Floats, Indices, int, Setting, str | None], AnyHead]] = {
    "logistic": _logistic,
    "linear_svm": _linear_svm,
    "rbf_svm": _rbf_svm,
    "nearest_neighbours": _neighbours,
    "boosting": _boosting,
}
