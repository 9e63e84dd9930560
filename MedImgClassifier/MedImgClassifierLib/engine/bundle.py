"""The bundle: a folder that holds a model, what it is for, and the means to check it (docs/bundles.md).

Loading executes nothing: a manifest checked against a JSON Schema, tensors in safetensors, a network named from a
closed registry, a graph of listed standard operators. Order: names and sizes, schema, hashes, tensors, graph, and
last, when a Classifier is made, the self-test.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, resources
from . import bundle_files, onnx_graph
from .errors import Refusal
from .heads import LinearHead
from .networks import REGISTRY, Cells, NetworkInfo, check_options
from .preprocess import InputSpec
from .result import Code, Label

Tensors = Mapping[str, NDArray[Any]]

WEIGHTS, SELFTEST, CARD = "weights.safetensors", "selftest/selftest.safetensors", "model_card.md"
ONNX, ONNX_INT8 = "model.onnx", "model.int8.onnx"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: everything in memory, hashes checked. onnx, onnx_int8: the network as checked graphs."""

    path: Path
    manifest: Mapping[str, Any]
    manifest_sha256: str
    spec: InputSpec
    labels: tuple[Label, ...]
    network: str
    network_options: Mapping[str, Any]
    weights: Tensors
    head: LinearHead
    selftest: Tensors
    card: str
    onnx: bytes | None = None
    onnx_int8: bytes | None = None

    @property
    def id(self) -> str:
        return str(self.manifest["id"])

    @property
    def network_info(self) -> NetworkInfo:
        return REGISTRY[self.network]

    @property
    def cells(self) -> Cells:
        """Where the cells of the network's class maps lie in its input."""
        return self.network_info.cells(self.network_options)

    @property
    def temperature(self) -> float | None:
        """Of the slice-level calibration; None where the bundle is uncalibrated."""
        calibration = (self.manifest["calibration"] or {}).get("slice")
        return None if calibration is None else float(calibration["temperature"])

    def summary(self) -> dict[str, str]:
        """What every result and export says about its model."""
        named = {key: str(self.manifest[key]) for key in ("id", "version", "title", "intended_use", "licence")}
        return named | {"manifest_sha256": self.manifest_sha256}


def load(path: Path) -> Bundle:
    """Read and check a bundle folder or zip.

    Raises Refusal: BUNDLE_NOT_FOUND, BUNDLE_MANIFEST (not valid), BUNDLE_CHANGED (hashes, names, sizes),
    BUNDLE_WEIGHTS (tensors damaged or not those of the network), BUNDLE_GRAPH, BUNDLE_UNSUPPORTED.
    """
    path = Path(path)
    files = bundle_files.read(path)
    manifest = _valid_manifest(path, files[bundle_files.MANIFEST])
    bundle_files.check_hashes(path, files, manifest["files"])
    _check_supported(path, manifest)
    names = [label["name"] for label in manifest["labels"]]
    if len(set(names)) < len(names):
        raise Refusal("BUNDLE_MANIFEST", path=path, where="$.labels", reason="two labels share one name")
    member = manifest["members"][0]
    (encoder,) = member["encoders"].values()
    network = encoder["network"]["name"]
    options = encoder["network"]["options"]
    weights = _tensors(path, files, encoder["weights"], network)
    try:
        check_options(network, options)
        spec = InputSpec.from_json(manifest["input"])
        head = LinearHead(weights[member["head"]["weight"]], weights[member["head"]["bias"]])
    except (KeyError, TypeError, ValueError) as wrong:
        raise Refusal("BUNDLE_MANIFEST", path=path, where="network, input or head", reason=wrong) from None
    if head.weight.shape[:1] != head.bias.shape or len(head.bias) != len(manifest["labels"]):
        reason = f"{len(manifest['labels'])} labels, but {head.weight.shape} weights of the last layer"
        raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=reason)
    return Bundle(
        path=path,
        manifest=manifest,
        manifest_sha256=hashlib.sha256(files[bundle_files.MANIFEST]).hexdigest(),
        spec=spec,
        labels=tuple(Label(x["name"], Code(**x["code"]) if x["code"] else None) for x in manifest["labels"]),
        network=network,
        network_options=options,
        weights=weights,
        head=head,
        selftest=_tensors(path, files, manifest["selftest"]["file"], network),
        card=files[manifest["model_card"]].decode("utf-8", errors="replace"),
        onnx=_graph(path, files, encoder.get("onnx"), network, spec, head),
        onnx_int8=_graph(path, files, encoder.get("onnx_int8"), network, spec, head, int8=True),
    )


def write(
    folder: Path,
    *,
    identity: Mapping[str, Any],
    labels: Sequence[Label],
    spec: InputSpec,
    network: str,
    network_options: Mapping[str, Any],
    weights: Tensors,
    selftest: Tensors,
    selftest_units: str,
    card: str,
    training: Mapping[str, Any],
    evaluation: Sequence[Mapping[str, Any]],
    onnx: bytes | None = None,
    onnx_int8: bytes | None = None,
    agreement: Mapping[str, Any] | None = None,
    extra_files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a bundle folder whole, replacing an earlier one, and return it.

    identity: id, version, title, intended_use, out_of_scope, licence, credits, known_limits (contact, created,
    calibration optional). selftest: from selftest.make. onnx, onnx_int8: the network's ONNX forms; agreement: what was
    measured of them (docs/bundles.md). extra_files: e.g. the licence's text. Raises Refusal
    (BUNDLE_MANIFEST, ...) where the result would not load; nothing is left behind then.
    """
    files = {WEIGHTS: _saved(weights), SELFTEST: _saved(selftest), CARD: card.encode(), **(extra_files or {})}
    head = REGISTRY[network].head
    encoder: dict[str, Any] = {"network": {"name": network, "options": dict(network_options)}, "weights": WEIGHTS}
    for key, name, graph in (("onnx", ONNX, onnx), ("onnx_int8", ONNX_INT8, onnx_int8)):
        if graph is not None:
            encoder[key], files[name] = name, graph
    member_head = {"kind": "linear", "weight": f"{head}.weight", "bias": f"{head}.bias"}
    manifest = {
        "format_version": 1,
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "generator": {"name": "MedImgClassifier", "version": __version__},
        "research_only": True,
        "task": {"kind": "multiclass", "unit": "slice"},
        "labels": [{"name": x.name, "code": vars(x.code) if x.code else None} for x in labels],
        "input": spec.to_json(),
        "members": [{"encoders": {"image": encoder}, "head": member_head, "fold": None}],
        "ensemble": None,
        "tta": [],
        "aggregation": None,
        "calibration": None,
        "ood": None,
        "selftest": {"file": SELFTEST, "units": selftest_units},
        "model_card": CARD,
        "training": dict(training),
        "evaluation": list(evaluation),
        "files": {name: bundle_files.describe(content) for name, content in sorted(files.items())},
        **({"agreement": dict(agreement)} if agreement else {}),
        **identity,
    }
    files[bundle_files.MANIFEST] = (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    staging, earlier = (folder.with_name(f".{folder.name}.{kind}") for kind in ("partial", "earlier"))
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name, content in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_bytes(content)
        load(staging)
        if folder.exists():
            folder.rename(earlier)
        staging.rename(folder)
    except BaseException:
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        raise
    finally:
        for rest in (staging, earlier):
            shutil.rmtree(rest, ignore_errors=True)
    return folder


def _valid_manifest(path: Path, content: bytes) -> dict[str, Any]:
    import jsonschema

    try:
        manifest = bundle_files.parse_json(content)
    except ValueError as wrong:
        raise Refusal("BUNDLE_MANIFEST", path=path, where="its text", reason=wrong) from None
    schema = json.loads(resources.path("Schemas/bundle.schema.json").read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(manifest))
    if error is not None:
        reason = error.message if len(error.message) < 200 else error.message[:200] + " ..."
        raise Refusal("BUNDLE_MANIFEST", path=path, where=error.json_path, reason=reason)
    return dict(manifest)


def _check_supported(path: Path, manifest: Mapping[str, Any]) -> None:
    """What the format defines but this version does not compute is refused, never left out silently."""
    member = manifest["members"][0]
    network = next(iter(member["encoders"].values()))["network"]
    for wrong, reason in (
        (len(manifest["members"]) > 1, "an ensemble of several members"),
        (len(member["encoders"]) > 1, "several encoders in one member"),
        (bool(manifest["tta"]), "test-time augmentation"),
        (manifest["task"] != {"kind": "multiclass", "unit": "slice"}, f"the task {manifest['task']}"),
        (manifest["input"]["level"] != "slice", f"input of level {manifest['input']['level']}"),
        (manifest["aggregation"] is not None, "aggregation to a volume"),
        (manifest["ood"] is not None, "an out-of-distribution score"),
        ("case" in (manifest["calibration"] or {}), "calibration of whole cases"),
        (network["name"] not in REGISTRY, f"the network '{network['name']}'"),
    ):
        if wrong:
            raise Refusal("BUNDLE_UNSUPPORTED", path=path, reason=reason)


def _graph(
    path: Path,
    files: Mapping[str, bytes],
    name: str | None,
    network: str,
    spec: InputSpec,
    head: LinearHead,
    int8: bool = False,
) -> bytes | None:
    """The file of an ONNX form, checked; None where the bundle names none."""
    if name is None:
        return None
    if name not in files:
        raise Refusal("BUNDLE_MANIFEST", path=path, where=name, reason="the file is not in the bundle")
    rows, columns = spec.size or (None, None)
    labels, features = head.weight.shape
    try:
        onnx_graph.check(
            files[name],
            channels=spec.network_channels,
            rows=rows,
            columns=columns,
            labels=labels,
            features=features,
            class_maps=REGISTRY[network].evidence != "last_block",
            int8=int8,
        )
    except onnx_graph.GraphError as wrong:
        raise Refusal("BUNDLE_GRAPH", path=path, file=name, reason=wrong) from None
    return files[name]


def _saved(tensors: Tensors) -> bytes:
    from safetensors.numpy import save

    # safetensors writes memory as it lies, so that a channels-last array would come back scrambled
    return save({name: np.array(tensor, order="C") for name, tensor in tensors.items()})


def _tensors(path: Path, files: Mapping[str, bytes], name: str, network: str) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    if name not in files:
        raise Refusal("BUNDLE_MANIFEST", path=path, where=name, reason="the file is not in the bundle")
    try:
        tensors: dict[str, NDArray[Any]] = load_tensors(files[name])
    except (SafetensorError, KeyError) as damaged:  # KeyError: a kind of number that numpy has not
        raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=f"{name}: {damaged}") from None
    for key, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=f"'{key}' holds values not finite")
    return tensors
