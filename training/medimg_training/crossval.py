"""Training by a plan: every fold and seed is fitted, and its evaluate role answered once, by a model that never saw it.

    split.json, evaluate_log.jsonl      who was used for what, and every reading of an evaluate role
    cache/                              images after geometry
    fold_0/seed_0/                      checkpoints, history.jsonl, predictions.csv of one model; and so on
    predictions.csv                     all answers: every figure can be computed from it
    figures.json, figures.md            what came out

What is there already is not done again, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.runtimes import Device

from .cache import PreparedSet, in_plane_of_rows, prepare
from .crossval_schemes import from_fold_column, k_fold, leave_site_out
from .datasets.manifest import Manifest, Row
from .durable import write_durably
from .evaluation.figures import Figures, figures_of
from .evaluation.predictions import KNOWN, Predictions
from .fit import fit
from .plan import Plan
from .predict import predict_logits
from .recipe import Recipe
from .roles import Rows, fold_rows, read_evaluate, require_apart
from .schemes import split_from_column
from .split import Split, labelled


def split_of(plan: Plan, manifest: Manifest, path: Path) -> Split:
    """The split that stands in `path`, else the plan's, which is put there.

    Raises Refusal DATA_SPLIT: what the scheme raises, and a split of another scheme that stands there.
    """
    if path.exists():
        found = Split.read(path, manifest)
        if found.scheme != plan["scheme"] or found.parameters.get("folds", plan["folds"]) != plan["folds"]:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' stands there already and is not the plan's ({found.how})")
        return found
    split = drawn(plan, manifest)
    split.write(path)
    return split


def drawn(plan: Plan, manifest: Manifest) -> Split:
    """The split of the plan's scheme. Raises Refusal DATA_SPLIT."""
    schemes: dict[str, Callable[[Manifest], Split]] = {
        "k_fold": lambda own: k_fold(own, plan["folds"]),
        "column": split_from_column,
        "leave_site_out": leave_site_out,
        "fold_column": from_fold_column,
    }
    split = schemes[plan["scheme"]](manifest)
    if not all(fold.evaluate for fold in split.folds):
        raise Refusal("DATA_SPLIT", reason=f"{split.how} leaves nobody to evaluate: no row has the split 'test'")
    return split


def train_by_plan(
    plan: Plan,
    manifest: Manifest,
    split: Split,
    out: Path,
    *,
    device: Device = "auto",
    tensorboard: bool = False,
    progress: bool = False,
) -> Figures:
    """Fit and answer all folds with all seeds, and return the figures. split: stands in out/split.json.

    Raises the refusals of `cache.prepare`, `fit` and `read_evaluate`.
    """
    rows = labelled(manifest)
    spec = in_plane_of_rows(plan.input_spec(), rows, manifest.path)
    prepared = prepare(manifest, rows, spec, out / "cache", progress=progress)
    check_network(plan.recipe(), prepared)
    parts = []
    for seed in range(plan["seeds"]):
        for number in range(len(split.folds)):
            if progress:
                print(f"seed {seed + 1} of {plan['seeds']}, fold {number + 1} of {len(split.folds)}", flush=True)
            model = _Model(plan, spec, manifest, split, prepared, out, number, seed)
            parts.append(model.answers(device=device, tensorboard=tensorboard, progress=progress))
    predictions = joined(parts)
    predictions.write(out / "predictions.csv")
    figures = figures_of(predictions, cast(Any, manifest.task))
    write_figures(out, figures)
    return figures


def write_figures(out: Path, figures: Figures) -> None:
    """Write figures.json and figures.md."""
    content = json.dumps(figures.to_json(), indent=1, ensure_ascii=False)
    write_durably(out / "figures.json", content.encode())
    write_durably(out / "figures.md", figures.to_markdown().encode())


def check_network(recipe: Recipe, prepared: PreparedSet) -> None:
    """Refuse, before hours are spent, a network that cannot be trained on images of this size in these batches."""
    channels, height, width = prepared.images.shape[1:]
    try:
        module = build(recipe.network, labels=len(prepared.classes), channels=channels, **recipe.network_options)
        module.train()(torch.zeros(min(recipe.batch // recipe.accumulate, 2), channels, height, width))
    except (RuntimeError, ValueError) as error:
        facts = {"network": recipe.network, "rows": height, "columns": width, "batch": recipe.batch}
        raise Refusal("USAGE_NETWORK_SIZE", **facts, reason=str(error).splitlines()[0]) from error


class _Model:
    """One fold of one seed."""

    def __init__(
        self,
        plan: Plan,
        spec: InputSpec,
        manifest: Manifest,
        split: Split,
        prepared: PreparedSet,
        out: Path,
        number: int,
        seed: int,
    ) -> None:
        self.manifest, self.split, self.prepared, self.out = manifest, split, prepared, out
        self.number, self.seed, self.recipe = number, seed, plan.recipe(seed)
        self.spec = spec
        self.folder = out / f"fold_{number}" / f"seed_{seed}"

    def answers(self, *, device: Device, tensorboard: bool, progress: bool) -> Predictions:
        """Its answers to the fold's evaluate role, read from the disk where they are there already."""
        rows, path = fold_rows(self.prepared, self.split.folds[self.number]), self.folder / "predictions.csv"
        follow: dict[str, Any] = {"device": device, "tensorboard": tensorboard, "progress": progress}
        result = fit(self.recipe, self.prepared, self.spec, rows.fit, rows.select, self.folder, **follow)
        if path.exists():
            return Predictions.read(path)
        purpose = f"cross-validation, seed {self.seed}"
        held_out = read_evaluate(
            self.out / "split.json", self.number, self.prepared, self.split, purpose, self.recipe.sha256
        )
        require_apart(rows.fit, held_out)
        logits = predict_logits(result.module, self.prepared, held_out, self.spec)
        predictions = table_of(self.manifest, self.prepared, held_out, logits, self.number, self.seed)
        predictions.write(path)
        return predictions


def table_of(
    manifest: Manifest,
    prepared: PreparedSet,
    rows: Rows,
    logits: NDArray[np.floating[Any]],
    fold: int = 0,
    seed: int = 0,
) -> Predictions:
    """The answers of one model: logits [len(rows), L] to images of the evaluate role."""
    samples = tuple(prepared.samples[n] for n in rows.indices)
    return Predictions(
        samples=samples,
        slices=tuple(prepared.slices[n] for n in rows.indices),
        groups=rows.groups,
        folds=np.full(len(rows), fold),
        seeds=np.full(len(rows), seed),
        labels=prepared.labels[rows.indices],
        logits=np.asarray(logits, np.float64),
        classes=prepared.classes,
        covariates=_covariates(manifest, samples),
    )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The answers of several models in one table. Raises Refusal DATA_PREDICTIONS where they do not fit together."""
    first = parts[0]
    return Predictions(
        samples=tuple(name for part in parts for name in part.samples),
        slices=tuple(number for part in parts for number in part.slices),
        groups=tuple(name for part in parts for name in part.groups),
        folds=np.concatenate([part.folds for part in parts]),
        seeds=np.concatenate([part.seeds for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        classes=first.classes,
        covariates={name: tuple(v for part in parts for v in part.covariates[name]) for name in first.covariates},
    )


def _covariates(manifest: Manifest, samples: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What the manifest says of the samples that figures can be broken down by; columns that are empty stay out."""
    row_of: dict[str, Row] = {row.sample: row for row in manifest.rows}
    names = dict.fromkeys(["site", "scanner", *(name for row in manifest.rows for name in row.covariates)])
    used = [name for name in names if any(row.column(name) for row in manifest.rows)]
    return {
        f"manifest.{name}" if name in KNOWN else name: tuple(row_of[sample].column(name) for sample in samples)
        for name in used
    }
