"""`medimg train`: from a manifest to a bundle, every step a file in the output folder.

    split.json, evaluate_log.jsonl    who was used for what, and every reading of the evaluate role
    cache/                            images after geometry
    fit/                              checkpoints and history.jsonl; the same command goes on from here
    predictions.csv, figures.json/md  what came out for the evaluate role
    <name>-<version>/                 the bundle, with its ONNX form and what was measured of it

Nothing heavy is imported before the verb runs.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import REGISTRY

from . import export_command
from .recipe import PRESETS, Recipe

if TYPE_CHECKING:
    from MedImgClassifierLib.engine.preprocess import InputSpec

    from .cache import Indices, PreparedSet
    from .datasets.manifest import Manifest
    from .evaluation.figures import Figures
    from .fit import FitResult
    from .onnx_form import OnnxForm
    from .split import Split

FRACTIONS: dict[Any, float] = {"fit": 0.7, "select": 0.1, "evaluate": 0.2}


def add_commands(subparsers: Any) -> None:
    """Add the verbs `train` and `export` to the subparsers of `medimg`; their `run` takes the parsed arguments."""
    export_command.add_command(subparsers)
    train = subparsers.add_parser("train", help="train a network on a manifest and write a bundle")
    train.set_defaults(run=run)
    train.add_argument("manifest", type=Path, help="manifest.csv, with manifest.json beside it")
    train.add_argument("--out", type=Path, required=True, help="folder for everything that comes of it")
    train.add_argument("--split-column", action="store_true", help="roles from the column 'split' (train, val, test)")
    train.add_argument("--size", type=_whole(1), default=224, help="rows and columns of the input (224)")
    train.add_argument("--plane", choices=("native", "axial", "sagittal", "coronal"), default="native")
    train.add_argument("--input", type=Path, help="JSON file of an input specification, instead of --size and --plane")
    train.add_argument("--network", choices=tuple(REGISTRY), default="resnet18")
    train.add_argument("--pretrained", default="random", help="'random', 'imagenet', or a file or address of weights")
    train.add_argument("--preset", choices=tuple(PRESETS), default="sgd")
    train.add_argument("--augment", choices=("none", "strong"), default="none")
    train.add_argument("--epochs", type=_whole(1), default=20)
    train.add_argument("--batch", type=_whole(1), default=64)
    train.add_argument("--learning-rate", type=_number(1e-12, inf), help="instead of the preset's")
    train.add_argument("--images-per-class", type=_whole(1), help="images drawn of each class in an epoch")
    train.add_argument("--label-smoothing", type=_number(0, 1), default=0.0)
    train.add_argument("--class-weights", choices=("none", "balanced"), default="none")
    train.add_argument("--amp", choices=("off", "bfloat16", "float16"), default="off")
    train.add_argument("--ema-decay", type=_number(1e-12, 1), help="return a moving average of the weights, e.g. 0.999")
    train.add_argument("--seed", type=_whole(0), default=0)
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    train.add_argument(
        "--name",
        type=_text("[a-z0-9][a-z0-9-]{0,63}"),
        default="my-model",
        help="id of the bundle: a-z, 0-9 and hyphens",
    )
    train.add_argument("--bundle-version", type=_text("[0-9]+[.][0-9]+[.][0-9]+"), default="0.1.0")
    train.add_argument("--title", type=_text(r".*\S.*"), help="what people see; the name where it is not given")
    train.add_argument("--licence", type=_text(r".*\S.*"), default="not stated", help="of the weights, e.g. CC-BY-4.0")


def _whole(least: int) -> Callable[[str], int]:
    """Parser of a whole number."""

    def whole(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError
        return value

    return whole


def _number(low: float, high: float) -> Callable[[str], float]:
    """Parser of a number low <= x < high."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value < high:
            raise ValueError
        return value

    return number


def _text(pattern: str) -> Callable[[str], str]:
    """Parser of a text that the pattern matches whole."""

    def text(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return text


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate, write the bundle; prints the figures. Raises Refusal."""
    fresh = not arguments.out.exists()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=arguments.out, reason=error.strerror) from error
    try:
        with export_command.libraries("training"):
            _train(arguments)
    except KeyboardInterrupt as error:
        kept = arguments.out / "fit" / "checkpoint.pt"
        raise Refusal("CANCELLED_TRAINING", path=kept) if kept.exists() else Refusal("CANCELLED") from error
    finally:
        if fresh and not any(arguments.out.iterdir()):
            arguments.out.rmdir()
    return 0


def _train(arguments: argparse.Namespace) -> None:
    from .cache import prepare
    from .datasets.manifest import Manifest
    from .export import onnx_form_of
    from .fit import fit
    from .onnx_export import require_libraries
    from .onnx_form import Roles
    from .split import log_evaluation

    require_libraries()  # before hours are spent
    out: Path = arguments.out
    manifest = Manifest.read(arguments.manifest)
    spec = _input_spec(arguments)
    recipe, augment = _recipe(arguments, spec)
    split = _split(arguments, manifest)
    (fold,) = split.folds
    rows = [row for row in manifest.rows if row.label]
    prepared = prepare(manifest, rows, spec, out / "cache", progress=True)
    _check_network(recipe, prepared)
    fit_rows, select_rows = prepared.of_groups(fold.fit), prepared.of_groups(fold.select)
    device = arguments.device
    result = fit(recipe, prepared, spec, fit_rows, select_rows, out / "fit", augment, progress=True, device=device)
    figures = None
    if fold.evaluate:
        log_evaluation(out / "split.json", "figures of medimg train", recipe.sha256)
        figures = _evaluated(out, result, prepared, spec, prepared.of_groups(fold.evaluate))
        print(figures.to_markdown())
    units = Counter(prepared.units[n] for n in fit_rows).most_common(1)[0][0]
    form = onnx_form_of(result, spec, units, Roles(prepared, fit_rows, select_rows), progress=True)
    print(form.to_markdown())
    print(_bundle(arguments, manifest, split, result, spec, units, figures, form))


def _input_spec(arguments: argparse.Namespace) -> InputSpec:
    from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Orient, Pad, Percentile, Resize, ZScore

    if arguments.input is None:
        geometry = (Orient(), Pad(), Resize(arguments.size, arguments.size))
        intensity = (Percentile(1, 99), ZScore(0.5, 0.25))
        return InputSpec((ChannelSpec("image"),), geometry, intensity, plane=arguments.plane)
    where = "input specification"
    try:
        spec = InputSpec.from_json(json.loads(arguments.input.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal("DATA_MANIFEST", path=arguments.input, where=where, reason=repr(error)) from error
    if len(spec.channels) != 1:
        reason = f"it has {len(spec.channels)} channels, a row of the manifest is one"
        raise Refusal("DATA_MANIFEST", path=arguments.input, where=where, reason=reason)
    return spec


def _recipe(arguments: argparse.Namespace, spec: InputSpec) -> tuple[Recipe, Any]:
    """The recipe, and the augmentation that it names."""
    from .augment import StrongAugment

    augment = StrongAugment() if arguments.augment == "strong" else None
    names = [
        "epochs",
        "batch",
        "images_per_class",
        "label_smoothing",
        "class_weights",
        "amp",
        "ema_decay",
        "pretrained",
        "seed",
    ]
    choices = {name: getattr(arguments, name) for name in names}
    if arguments.learning_rate is not None:
        choices["learning_rate"] = arguments.learning_rate
    choices["augmentation"] = repr(augment) if augment else "none"
    if "image_size" in REGISTRY[arguments.network].options and spec.size is not None:
        choices["network_options"] = {"image_size": spec.size[0]}
    return Recipe.of(arguments.preset, arguments.network, **choices), augment


def _check_network(recipe: Recipe, prepared: PreparedSet) -> None:
    """Refuse, before hours are spent, a network that cannot be trained on images of this size in these batches."""
    import torch

    from MedImgClassifierLib.engine.networks import build

    channels, height, width = prepared.images.shape[1:]
    try:
        module = build(recipe.network, labels=len(prepared.classes), channels=channels, **recipe.network_options)
        module.train()(torch.zeros(min(recipe.batch, 2), channels, height, width))
    except (RuntimeError, ValueError) as error:
        facts = {"network": recipe.network, "rows": height, "columns": width, "batch": recipe.batch}
        raise Refusal("USAGE_NETWORK_SIZE", **facts, reason=str(error).splitlines()[0]) from error


def _split(arguments: argparse.Namespace, manifest: Manifest) -> Split:
    """The split that stands in the output folder already, else a new one, which is put there."""
    from .split import FROM_COLUMN, Split, make_split, split_from_column

    path = arguments.out / "split.json"
    if path.exists():
        found = Split.read(path, manifest)
        if len(found.folds) != 1:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' has {len(found.folds)} folds, not one")
        if arguments.split_column and found.how != FROM_COLUMN:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' stands there already and is not of the column 'split'")
        return found
    split = split_from_column(manifest) if arguments.split_column else make_split(manifest, FRACTIONS, arguments.seed)
    split.write(path)
    return split


def _evaluated(out: Path, result: FitResult, prepared: PreparedSet, spec: InputSpec, rows: Indices) -> Figures:
    """Figures of the evaluate role; writes predictions.csv, figures.json and figures.md."""
    from .evaluation.figures import figures_of
    from .evaluation.predictions import Predictions
    from .predict import predict_logits

    logits = predict_logits(result.module, prepared, rows, spec)
    answers = Predictions.of(logits, prepared.labels[rows], [prepared.groups[n] for n in rows], prepared.classes)
    samples, slices = (tuple(own[n] for n in rows) for own in (prepared.samples, prepared.slices))
    replace(answers, samples=samples, slices=slices).write(out / "predictions.csv")
    figures = figures_of(Predictions.read(out / "predictions.csv"))
    (out / "figures.json").write_text(json.dumps(figures.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")
    (out / "figures.md").write_text(figures.to_markdown(), encoding="utf-8")
    return figures


def _bundle(
    arguments: argparse.Namespace,
    manifest: Manifest,
    split: Split,
    result: FitResult,
    spec: InputSpec,
    units: str,
    figures: Figures | None,
    form: OnnxForm,
) -> Path:
    from MedImgClassifierLib.engine.result import Label

    from .export import export, model_card

    classes = ", ".join(manifest.classes)
    identity = {
        "id": arguments.name,
        "version": arguments.bundle_version,
        "title": arguments.title or arguments.name,
        "intended_use": f"Research: telling apart {classes} in images like those it was trained on.",
        "out_of_scope": ["Diagnosis or any other clinical use."],
        "licence": arguments.licence,
        "credits": [],
        "known_limits": ["Uncalibrated: probabilities are not shares of correct answers."],
    }
    roles = {role: len(groups) for role, groups in vars(split.folds[0]).items()}
    return export(
        arguments.out / f"{arguments.name}-{arguments.bundle_version}",
        result,
        spec,
        [Label(name) for name in manifest.classes],
        identity=identity,
        units=units,
        card=model_card(identity, result, roles, figures),
        evaluation={"evaluate role of the manifest": figures} if figures else {},
        data={"manifest_sha256": manifest.sha256, "split": split.how, "groups": roles},
        form=form,
    )
