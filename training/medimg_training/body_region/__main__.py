"""Make the bundle `body-region`, step by step; each step goes on from what the one before left in --work.

python -m medimg_training.body_region develop --archives DIR   train and look at development data only
python -m medimg_training.body_region release --archives DIR   the same, then read the final data and write the
                                                               bundle and docs/models/body-region.md's tables
python -m medimg_training.body_region export --archives DIR    the ONNX form of the bundle anew: same weights, measured
                                                               on development data, no training, no final data
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from MedImgClassifierLib.engine.bundle import load
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal

from ..cache import PreparedSet, prepare
from ..datasets.manifest import Manifest
from ..export import export, export_again, onnx_form_of, onnx_form_of_bundle
from ..fit import FitResult, fit
from ..onnx_form import OnnxForm, Roles
from ..recipe import Recipe
from ..roles import FoldRows, Rows, fold_rows, read_evaluate
from ..schemes import split_from_column
from ..split import Fold, Split, read_evaluate_log
from . import card, looks
from .data import build_manifest
from .recipe import AUGMENT, IDENTITY, LABELS, RECIPE, SPEC

UNITS = "HU"  # of the self-test's made-up images


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m medimg_training.body_region", description=__doc__)
    parser.add_argument("step", choices=("develop", "release", "export"))
    parser.add_argument("--archives", type=Path, required=True, help="folder with mednist64.zip, ixi_t1_2p5mm.zip, ...")
    parser.add_argument("--work", type=Path, default=Path("build/body-region"))
    parser.add_argument("--models", type=Path, default=Path("MedImgClassifier/Resources/Models"))
    parser.add_argument("--tables", type=Path, default=Path("docs/models/body-region.md"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs, help="fewer, for a trial")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if arguments.step == "release" and arguments.epochs != RECIPE.epochs:
        parser.error("a release takes the epochs of the recipe")
    torch.set_num_threads(arguments.threads)
    try:
        making = _Making(arguments)
        making.run_export() if arguments.step == "export" else making.run()
    except Refusal as refusal:
        print(refusal.message(), file=sys.stderr)
        return refusal.exit_status
    return 0


class _Making:
    """One making of the bundle: the data, the fitted network and what was measured."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work: Path = arguments.work
        self.recipe: Recipe = replace(RECIPE, epochs=arguments.epochs)
        self.work.mkdir(parents=True, exist_ok=True)
        self.images = self.work / "images"
        self.images.mkdir(exist_ok=True)
        manifest = Manifest.read(build_manifest(arguments.archives, self.images))
        self.split: Split = split_from_column(manifest)
        self.split.write(self.work / "split.json")
        self.fold: Fold = self.split.folds[0]
        self.prepared: PreparedSet = prepare(manifest, manifest.rows, SPEC, self.work / "cache", progress=True)
        self.rows: FoldRows = fold_rows(self.prepared, self.fold)

    def run(self) -> None:
        no_curve = fold_rows(self.prepared, replace(self.fold, select=())).select
        rows = (self.rows.fit, no_curve)
        result = fit(self.recipe, self.prepared, SPEC, *rows, self.work / "fit", AUGMENT, progress=True)
        trial = self._export(self.work / "bundles", result, {}, "# body-region, before its figures\n")
        classifier = Classifier(load(trial), "cpu")
        figures: dict[str, Any] = {"development": self._development(result, classifier)}
        print(json.dumps(_shares(figures), indent=1))
        if self.arguments.step == "release":
            figures["final"] = self._final(result, classifier)
            readings = len(read_evaluate_log(self.work / "split.json"))
            text = card.tables(figures, readings)
            card.put_below_marker(self.arguments.tables, text)
            form = onnx_form_of(result, SPEC, UNITS, self._roles(), progress=True)
            made = self._export(self.arguments.models, result, figures, card.model_card(IDENTITY, text), form)
            print(f"{form.to_markdown()}\nwrote {made} and {self.arguments.tables}")

    def run_export(self) -> None:
        """Only the ONNX form and its record, in place of those that the bundle has."""
        loaded = load(self.arguments.models / str(IDENTITY["id"]))
        before, version = str(loaded.manifest["version"]), str(IDENTITY["version"])
        form = onnx_form_of_bundle(loaded, self._roles(), int8=True, progress=True)
        loaded = replace(loaded, card=loaded.card.replace(before, version, 1))  # in its title
        made = export_again(loaded.path, loaded, form, version=version)
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        print(f"{form.to_markdown()}\nwrote {made}, {size:,} bytes")

    def _roles(self) -> Roles:
        return Roles(self.prepared, self.rows.fit, self.rows.select)

    def _development(self, result: FitResult, classifier: Classifier) -> dict[str, Any]:
        rows = self.rows.select
        volumes = looks.development_volumes(self.arguments.archives, self.images)
        return {
            "val": looks.split_figures(result.module, self.prepared, rows, SPEC, background=True),
            "val_background_removed": looks.split_figures(result.module, self.prepared, rows, SPEC, background=False),
            "planes": looks.plane_recalls(result.module, self.prepared, self._brain(rows), SPEC),
            "volumes": {v.name: looks.volume_counts(classifier, [v]) for v in volumes},
        }

    def _final(self, result: FitResult, classifier: Classifier) -> dict[str, Any]:
        purpose, path = "release of body-region", self.work / "split.json"
        rows = read_evaluate(path, 0, self.prepared, self.split, purpose, self.recipe.sha256)
        head = looks.final_head_ct(self.arguments.archives, self.images)
        brains = looks.final_brain_mr(self.arguments.archives, self.images)
        heads = {"in HU (the bundle's window)": looks.volume_counts(classifier, head)}
        for name, window in looks.CT_WINDOWS.items():
            heads[f"exported, {name}"] = looks.volume_counts(classifier, head, looks.windowed(*window))
        return {
            "test": looks.split_figures(result.module, self.prepared, rows, SPEC, background=True),
            "test_background_removed": looks.split_figures(result.module, self.prepared, rows, SPEC, background=False),
            "mednist_test": self._mednist(result, rows, background=True),
            "mednist_test_background_removed": self._mednist(result, rows, background=False),
            "planes": looks.plane_recalls(result.module, self.prepared, self._brain(rows), SPEC),
            "ct_head_ge_tilt": heads,
            "mr_sequence3d": {name: looks.volume_counts(classifier, volumes) for name, volumes in brains.items()},
            "border_probe": looks.border_probe(self.prepared, self.rows.fit, rows, SPEC, AUGMENT),
        }

    def _mednist(self, result: FitResult, rows: Rows, *, background: bool) -> Any:
        own = rows.part(self.prepared.labels[rows.indices] != self.prepared.classes.index("BrainMR"))
        return looks.split_figures(result.module, self.prepared, own, SPEC, background=background)

    def _brain(self, rows: Rows) -> Rows:
        return rows.part(self.prepared.labels[rows.indices] == self.prepared.classes.index("BrainMR"))

    def _export(
        self, folder: Path, result: FitResult, figures: dict[str, Any], text: str, form: OnnxForm | None = None
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        evaluation = {
            f"{part} {name}": value
            for part, values in figures.items()
            for name, value in values.items()
            if hasattr(value, "to_json")
        }
        return export(
            folder / str(IDENTITY["id"]),
            result,
            SPEC,
            LABELS,
            identity=IDENTITY,
            units=UNITS,
            card=text,
            evaluation=evaluation,
            data={role: len(getattr(self.fold, role)) for role in ("fit", "select", "evaluate")},
            form=form,
            extra_files={"LICENSE.txt": card.LICENCE_NOTE.encode()},
        )


def _shares(value: Any) -> Any:
    """Figures cut down to what a look needs."""
    if hasattr(value, "confusion"):
        confusion = [str(list(row)) for row in value.confusion]
        return {"balanced accuracy": value.of("balanced accuracy").value, "confusion": confusion}
    if isinstance(value, dict):
        return {key: _shares(item) for key, item in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
