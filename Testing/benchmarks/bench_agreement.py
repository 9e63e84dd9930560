"""Parity and agreement of every network of the registry, as the Markdown tables of docs/runtimes.md.

There are no ImageNet weights here, so each network is made to tell real images apart without them: a random body from a
fixed seed, the statistics of its batch norms set by training-mode forwards over images of the fit role, and its last
linear layer fitted by logistic regression on the body's features of such images. So a class is called with a margin
that images give, but nothing below the last layer is learned: what is shown is how numbers survive on a runtime and in
a precision, not how good a network is. Deep random bodies tell images apart badly (the accuracies are shown), so that
margins are small and a reduced precision changes more classes than in a trained network. A trained bundle carries its
own record.

Data: MedNIST and IXI slices of `body-region`, roles by their tables (fit: train, held out: val; test is never read).
Needs the training archives: --archives DIR, ../shared/data by default.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from medimg_training.agreement import LEAST_IMAGES, Sample, ask_called
from medimg_training.body_region.data import build_manifest
from medimg_training.body_region.recipe import SPEC
from medimg_training.cache import PreparedSet, prepare
from medimg_training.datasets.manifest import Manifest, Row
from medimg_training.onnx_form import OnnxForm, Roles, Trained, make
from medimg_training.roles import fold_rows
from medimg_training.schemes import split_from_column
from MedImgClassifierLib.engine import selftest
from MedImgClassifierLib.engine.networks import REGISTRY, build
from MedImgClassifierLib.engine.preprocess import InputSpec, Resize
from MedImgClassifierLib.engine.torch_networks import Network

FIT, HELD_OUT = 700, 400
BATCH = 32
SIZES = {"narrow_resnet": 64}  # rows and columns; the others see more, or their maps would have one cell
SIZE = 96


def spec_of(network: str) -> InputSpec:
    size = SIZES.get(network, SIZE)
    geometry = tuple(Resize(size, size) if isinstance(step, Resize) else step for step in SPEC.geometry)
    return replace(SPEC, geometry=geometry)


def chosen_rows(manifest: Manifest, groups: tuple[str, ...], most: int) -> list[Row]:
    """Rows of some groups, evenly spread; of a volume its middle slice."""
    wanted = set(groups)
    rows = [row for row in manifest.rows if row.group in wanted]
    rows = [rows[k] for k in np.linspace(0, len(rows) - 1, most).round().astype(int)]
    middle = [row.slice_from + ((row.slice_to or 1) - row.slice_from) // 2 for row in rows]
    return [replace(row, slice_from=k, slice_to=k + 1) for row, k in zip(rows, middle, strict=True)]


def in_batches(prepared: PreparedSet, rows: np.ndarray, spec: InputSpec) -> Iterator[torch.Tensor]:
    for start in range(0, len(rows), BATCH):
        yield torch.from_numpy(prepared.inputs(rows[start : start + BATCH], spec))


def random_body(network: str, options: dict[str, Any], prepared: PreparedSet, rows: np.ndarray) -> Network:
    """The network in evaluation mode, its batch norms holding the mean statistics of the fit images."""
    torch.manual_seed(0)
    module = build(network, len(prepared.classes), 1, **options).train()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None  # the plain mean over all forwards
    shuffled = np.random.default_rng(0).permutation(rows)[: 8 * BATCH]
    with torch.no_grad():
        for images in in_batches(prepared, shuffled, spec_of(network)):
            module(images)
    return module.eval()


def fit_head(module: Network, prepared: PreparedSet, rows: np.ndarray, spec: InputSpec) -> None:
    """Logistic regression on the features, in units of their spread over images."""
    with torch.inference_mode():
        batches = in_batches(prepared, rows, spec)
        features = torch.cat([module.encode(images, maps=False)[0] for images in batches]).double().numpy()
    mean = features.mean(axis=0)
    spread = float(np.sqrt(((features - mean) ** 2).sum(axis=1).mean()))
    fitted = LogisticRegression(max_iter=2000).fit((features - mean) / spread, prepared.labels[rows])
    weight = fitted.coef_ / spread
    with torch.no_grad():
        module.head.weight.copy_(torch.from_numpy(weight))
        module.head.bias.copy_(torch.from_numpy(fitted.intercept_ - weight @ mean))


def measure(network: str, roles: Roles) -> tuple[OnnxForm, float]:
    """The network's form, and its accuracy on the held-out images in float32."""
    spec, options = spec_of(network), {}
    if "image_size" in REGISTRY[network].options:
        options = {"image_size": SIZE}
    module = random_body(network, options, roles.prepared, roles.fit.indices)
    fit_head(module, roles.prepared, roles.fit.indices, spec)
    weights = {name: tensor.contiguous().numpy() for name, tensor in module.state_dict().items()}
    del module
    trained = Trained(network, options, weights, spec)
    inputs = selftest.of_network(spec, network, options, weights, "arbitrary")["inputs"]
    form = make(trained, roles, inputs)
    held_out = Sample(roles.prepared, roles.held_out.indices, spec)
    called = ask_called(trained.on_torch(), trained.head, held_out.batches()).logits.argmax(axis=1)
    return form, float((called == held_out.labels).mean())


def parity_rows(network: str, form: OnnxForm) -> Iterator[str]:
    for row in form.parity:
        figures = f"{row.largest_logit:.1f} | {row.difference:.1e} | {row.allowed:.1e} | {row.maps_in_words()}"
        yield f"| {network} | {row.runtime} | {figures} | {'passed' if row.passed else 'missed'} |"


def agreement_rows(network: str, form: OnnxForm, accuracy: float) -> Iterator[str]:
    for row in form.agreement:
        yield f"| {network} | {accuracy:.3f} | {row.runtime} {row.precision} | {row.in_words()} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=Path, default=Path(__file__).resolve().parents[2] / "../shared/data")
    parser.add_argument("--networks", nargs="+", choices=tuple(REGISTRY), default=tuple(REGISTRY))
    arguments = parser.parse_args()
    if not (arguments.archives / "mednist64.zip").exists():
        print(f"skipped: no training archives in {arguments.archives}")
        return
    parity, agreement = [], []
    with tempfile.TemporaryDirectory(prefix="medimg-agreement-") as scratch:
        manifest = Manifest.read(build_manifest(arguments.archives, Path(scratch)))
        (fold,) = split_from_column(manifest).folds
        rows = [*chosen_rows(manifest, fold.fit, FIT), *chosen_rows(manifest, fold.select, HELD_OUT)]
        for network in arguments.networks:
            start = time.perf_counter()
            size = SIZES.get(network, SIZE)
            prepared = prepare(manifest, rows, spec_of(network), Path(scratch, f"cache-{size}"))
            known = fold_rows(prepared, fold)
            roles = Roles(prepared, known.fit, known.select)
            form, accuracy = measure(network, roles)
            parity += parity_rows(network, form)
            agreement += agreement_rows(network, form, accuracy)
            notes = " ".join(form.notes)
            print(f"{network}: {time.perf_counter() - start:.0f} s {notes}", file=sys.stderr, flush=True)
        held_out = Sample(prepared, roles.held_out, SPEC)
        print(f"Parity: 3 self-test images and {LEAST_IMAGES} real ones; torch {torch.__version__}, eager, CPU.\n")
        print("| network | runtime | largest logit | d logit | allowed | d class map / largest | |")
        print("\n".join(["|---|---|---|---|---|---|---|", *parity]))
        print(f"\nAgreement: {len(held_out)} held-out images of {held_out.groups} groups.\n")
        print("| network | accuracy | | same class | d calibration error | evidence | offered |")
        print("\n".join(["|---|---|---|---|---|---|---|", *agreement]))


if __name__ == "__main__":
    main()
