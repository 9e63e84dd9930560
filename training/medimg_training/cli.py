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
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from MedImgClassifierLib.engine.errors import Refusal

from . import check_command, export_command, plan_command, prepare_command
from .argument_types import text, whole
from .recipe_options import CHOSEN, add_options, recipe_of

if TYPE_CHECKING:
    from MedImgClassifierLib.engine.preprocess import InputSpec

    from .cache import PreparedSet
    from .datasets.manifest import Manifest
    from .evaluation.figures import Figures
    from .fit import FitResult
    from .onnx_form import OnnxForm
    from .recipe import Recipe
    from .roles import EvaluateRows
    from .split import Split

FRACTIONS: dict[Any, float] = {"fit": 0.7, "select": 0.1, "evaluate": 0.2}


def add_commands(subparsers: Any) -> None:
    """Add the verbs of training to the subparsers of `medimg`; their `run` takes the parsed arguments."""
    for verb in (prepare_command, check_command, plan_command, export_command):
        verb.add_command(subparsers)
    train = subparsers.add_parser("train", help="train a network on a manifest and write a bundle")
    train.set_defaults(run=run)
    add = train.add_argument_group("images and roles").add_argument
    train.add_argument("manifest", type=Path, help="manifest.csv, with manifest.json beside it")
    train.add_argument("--out", type=Path, required=True, help="folder for everything that comes of it")
    add("--split-column", action="store_true", help="roles from the column 'split' (train, val, test)")
    add("--size", type=whole(1), default=224, help="rows and columns of the input (224)")
    add("--plane", choices=("native", "axial", "sagittal", "coronal"), default="native")
    add("--input", type=Path, help="JSON file of an input specification, instead of --size and --plane")
    add(
        "--plan",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="follow this plan.json (OUT/plan.json where none is named): every fold and seed, and figures of all; no "
        "bundle is written",
    )
    add("--checks", type=Path, metavar="DIR", help="report and waivers of `medimg check` (beside the manifest)")
    add_options(train)
    add = train.add_argument_group("run").add_argument
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add("--tensorboard", action="store_true", help="curves for TensorBoard, too, in OUT/fit/tensorboard")
    add = train.add_argument_group("bundle").add_argument
    add("--name", type=text("[a-z0-9][a-z0-9-]{0,63}"), default="my-model", help="its id: a-z, 0-9 and hyphens")
    add("--bundle-version", type=text("[0-9]+[.][0-9]+[.][0-9]+"), default="0.1.0")
    add("--title", type=text(r".*\S.*"), help="what people see; the name where it is not given")
    add("--licence", type=text(r".*\S.*"), default="not stated", help="of the weights, e.g. CC-BY-4.0")
    alone = (*CHOSEN, "split_column", "size", "plane", "input", "name", "bundle_version", "title", "licence")
    train.set_defaults(without_plan={name: train.get_default(name) for name in alone})


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate, write the bundle; prints the figures. Raises Refusal."""
    fresh = not arguments.out.exists()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=arguments.out, reason=error.strerror) from error
    try:
        with export_command.libraries("training"):
            _train(arguments) if arguments.plan is None else _train_by_plan(arguments)
    except KeyboardInterrupt as error:
        kept = next(arguments.out.glob("**/checkpoint.pt"), None)
        raise Refusal("CANCELLED_TRAINING", path=kept) if kept else Refusal("CANCELLED") from error
    finally:
        if fresh and not any(arguments.out.iterdir()):
            arguments.out.rmdir()
    return 0


def _train(arguments: argparse.Namespace) -> None:
    from .cache import in_plane_of_rows, prepare
    from .crossval import check_network
    from .datasets.manifest import Manifest
    from .datasets.problems import listed_in
    from .export import onnx_form_of
    from .fit import fit
    from .onnx_export import require_libraries
    from .onnx_form import Roles
    from .roles import fold_rows, read_evaluate
    from .tracking import require_tensorboard

    require_libraries()  # before hours are spent
    if arguments.tensorboard:
        require_tensorboard()
    out: Path = arguments.out
    with listed_in(arguments.out):
        manifest = Manifest.read(arguments.manifest)
    rows = [row for row in manifest.rows if row.label]
    spec = in_plane_of_rows(_input_spec(arguments), rows, manifest.path)
    if len({row.plane or spec.plane for row in rows}) > 1:
        reason = "rows are cut in several planes, and a bundle cuts in one: make a manifest of each"
        raise Refusal("DATA_MANIFEST", path=manifest.path, where="plane", reason=reason)
    recipe = recipe_of(arguments, spec)
    split = _split(arguments, manifest)
    (fold,) = split.folds
    _check(arguments, manifest, split, spec, recipe)
    prepared = prepare(manifest, rows, spec, out / "cache", progress=True)
    check_network(recipe, prepared)
    rows_of = fold_rows(prepared, fold)
    follow = {"progress": True, "tensorboard": arguments.tensorboard, "device": arguments.device}
    result = fit(recipe, prepared, spec, rows_of.fit, rows_of.select, out / "fit", **follow)
    figures = None
    if fold.evaluate:
        evaluate_rows = read_evaluate(out / "split.json", 0, prepared, split, "figures of medimg train", recipe.sha256)
        figures = _evaluated(out, manifest, result, prepared, spec, evaluate_rows)
        print(figures.to_markdown())
    units = Counter(prepared.units[n] for n in rows_of.fit.indices).most_common(1)[0][0]
    form = onnx_form_of(result, spec, units, Roles(prepared, rows_of.fit, rows_of.select), progress=True)
    print(form.to_markdown())
    print(_bundle(arguments, manifest, split, result, spec, units, figures, form))


def _train_by_plan(arguments: argparse.Namespace) -> None:
    from .cache import in_plane_of_rows
    from .crossval import split_of, train_by_plan
    from .datasets.manifest import Manifest
    from .datasets.problems import listed_in
    from .plan import read_plan
    from .split import labelled
    from .tracking import require_tensorboard

    if arguments.tensorboard:
        require_tensorboard()
    out: Path = arguments.out
    for name, default in arguments.without_plan.items():
        if getattr(arguments, name) != default:
            reason = f"--{name.replace('_', '-')} is no option beside --plan: what the plan decides is changed in it"
            raise Refusal("USAGE_RECIPE", reason=reason)
    with listed_in(arguments.out):
        manifest = Manifest.read(arguments.manifest)
    plan = read_plan(arguments.plan if arguments.plan.name else out / "plan.json", manifest.sha256)
    split = split_of(plan, manifest, out / "split.json")
    print(f"{plan.to_markdown()}\n{split.describe()}")
    spec = in_plane_of_rows(plan.input_spec(), labelled(manifest), manifest.path)
    _check(arguments, manifest, split, spec, plan.recipe())
    follow = {"device": arguments.device, "tensorboard": arguments.tensorboard, "progress": True}
    print(train_by_plan(plan, manifest, split, out, **follow).to_markdown())


def _check(arguments: argparse.Namespace, manifest: Manifest, split: Split, spec: InputSpec, recipe: Recipe) -> None:
    """What could fool the figures stops the training before hours are spent."""
    from .checks.run import require_clean

    folder = arguments.checks or arguments.manifest.parent / "checks"
    require_clean(manifest, folder, split, plane=spec.plane, pretrained=recipe.pretrained, progress=True)


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


def _split(arguments: argparse.Namespace, manifest: Manifest) -> Split:
    """The split that stands in the output folder already, else a new one, which is put there."""
    from .schemes import make_split, split_from_column
    from .split import Split

    path = arguments.out / "split.json"
    if path.exists():
        found = Split.read(path, manifest)
        if len(found.folds) != 1:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' has {len(found.folds)} folds, not one")
        if arguments.split_column and found.scheme != "column":
            raise Refusal("DATA_SPLIT", reason=f"'{path}' stands there already and is not of the column 'split'")
        return found
    split = split_from_column(manifest) if arguments.split_column else make_split(manifest, FRACTIONS, arguments.seed)
    split.write(path)
    return split


def _evaluated(
    out: Path, manifest: Manifest, result: FitResult, prepared: PreparedSet, spec: InputSpec, rows: EvaluateRows
) -> Figures:
    """Figures of the evaluate role; writes predictions.csv, figures.json and figures.md."""
    from .crossval import table_of, write_figures
    from .evaluation.figures import figures_of
    from .predict import predict_logits

    logits = predict_logits(result.module, prepared, rows, spec)
    answers = table_of(manifest, prepared, rows, logits)
    answers.write(out / "predictions.csv")
    figures = figures_of(answers, cast(Any, manifest.task))
    write_figures(out, figures)
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
    from .split import ROLES

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
    roles: dict[str, int] = {role: len(getattr(split.folds[0], role)) for role in ROLES}
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
