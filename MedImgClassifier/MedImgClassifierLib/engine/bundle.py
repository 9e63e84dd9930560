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

from .. import __version__, resources
from . import bundle_files, bundle_weights, onnx_graph
from .bundle_weights import Tensors
from .errors import Refusal
from .heads import Head, LinearHead, StoredHead
from .networks import ENCODERS, REGISTRY, Cells, NetworkInfo, check_options
from .preprocess import InputSpec
from .result import Code, Label

WEIGHTS, SELFTEST, CARD = "weights.safetensors", "selftest/selftest.safetensors", "model_card.md"
ONNX, ONNX_INT8 = "model.onnx", "model.int8.onnx"
HEAD = "head.safetensors"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: everything in memory, hashes checked. network: a name of networks.ENCODERS. onnx, onnx_int8: the
    network as checked graphs."""

    path: Path
    manifest: Mapping[str, Any]
    manifest_sha256: str
    spec: InputSpec
    labels: tuple[Label, ...]
    network: str
    network_options: Mapping[str, Any]
    weights: Tensors
    head: Head
    selftest: Tensors
    card: str
    onnx: bytes | None = None
    onnx_int8: bytes | None = None

    @property
    def id(self) -> str:
        return str(self.manifest["id"])

    @property
    def network_info(self) -> NetworkInfo:
        return ENCODERS[self.network]

    @property
    def own_evidence(self) -> bool:
        """Whether the network's own class maps explain the answer: where its last layer gives it."""
        return self.network_info.evidence != "none" and isinstance(self.head, LinearHead)

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
    weights = bundle_weights.tensors(path, files, encoder["weights"], network)
    try:
        check_options(network, options)
        spec = InputSpec.from_json(manifest["input"])
    except (KeyError, TypeError, ValueError) as wrong:
        raise Refusal("BUNDLE_MANIFEST", path=path, where="network or input", reason=wrong) from None
    head = bundle_weights.head(path, files, manifest, weights, network, spec.network_channels)
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
        selftest=bundle_weights.tensors(path, files, manifest["selftest"]["file"], network),
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
    head: StoredHead | None = None,
) -> Path:
    """Write a bundle folder whole, replacing an earlier one, and return it.

    identity: id, version, title, intended_use, out_of_scope, licence, credits, known_limits (contact, created,
    calibration optional). selftest: from selftest.make. onnx, onnx_int8: the network's ONNX forms; agreement: what was
    measured of them (docs/bundles.md). extra_files: e.g. the licence's text. head: what decides in place of the
    network's last layer, on its features. Raises Refusal
    (BUNDLE_MANIFEST, ...) where the result would not load; nothing is left behind then.
    """
    files = {WEIGHTS: bundle_weights.saved(weights), SELFTEST: bundle_weights.saved(selftest), CARD: card.encode()}
    files |= extra_files or {}
    encoder: dict[str, Any] = {"network": {"name": network, "options": dict(network_options)}, "weights": WEIGHTS}
    for key, name, graph in (("onnx", ONNX, onnx), ("onnx_int8", ONNX_INT8, onnx_int8)):
        if graph is not None:
            encoder[key], files[name] = name, graph
    if head is None:
        layer = ENCODERS[network].head
        member_head = {"kind": "linear", "weight": f"{layer}.weight", "bias": f"{layer}.bias"}
    else:
        member_head = {"kind": head.kind, "file": HEAD, **head.parameters()}
        files[HEAD] = bundle_weights.saved(head.arrays())
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
        (network["name"] not in ENCODERS, f"the network '{network['name']}'"),
    ):
        if wrong:
            raise Refusal("BUNDLE_UNSUPPORTED", path=path, reason=reason)


def _graph(
    path: Path,
    files: Mapping[str, bytes],
    name: str | None,
    network: str,
    spec: InputSpec,
    head: Head,
    int8: bool = False,
) -> bytes | None:
    """The file of an ONNX form, checked; None where the bundle names none."""
    if name is None:
        return None
    if name not in files:
        raise Refusal("BUNDLE_MANIFEST", path=path, where=name, reason="the file is not in the bundle")
    if network not in REGISTRY:
        raise Refusal("BUNDLE_MANIFEST", path=path, where=name, reason=f"a graph of '{network}', which is no network")
    rows, columns = spec.size or (None, None)
    try:
        onnx_graph.check(
            files[name],
            channels=spec.network_channels,
            rows=rows,
            columns=columns,
            labels=head.labels if isinstance(head, LinearHead) else None,
            features=head.features,
            class_maps=REGISTRY[network].evidence != "last_block",
            int8=int8,
        )
    except onnx_graph.GraphError as wrong:
        raise Refusal("BUNDLE_GRAPH", path=path, file=name, reason=wrong) from None
    return files[name]
