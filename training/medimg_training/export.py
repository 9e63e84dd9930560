"""From a fitted network, or from a bundle, to a bundle folder that the engine loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from MedImgClassifierLib.engine import bundle, bundle_files, selftest
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.result import Label

from . import onnx_form
from .evaluation.figures import Figures
from .fit import FitResult
from .onnx_form import OnnxForm, Roles

_SECTION = "## Runtimes"
_ENCODER_FILES = ("weights", "onnx", "onnx_int8")
_IDENTITY = (
    *("id", "version", "title", "intended_use", "out_of_scope", "licence", "credits", "known_limits", "contact"),
    *("calibration", "training_groups"),
)


def export(
    folder: Path,
    result: FitResult,
    spec: InputSpec,
    labels: Sequence[Label],
    *,
    identity: Mapping[str, Any],
    units: str,
    card: str,
    evaluation: Mapping[str, Figures],
    data: Mapping[str, Any],
    form: OnnxForm | None = None,
    extra_files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write `folder` as a bundle, whole or not at all, and return it.

    identity: as `bundle.write` asks for it. units: of the images the network was trained on, for the self-test.
    evaluation: name of a data set -> its figures. data: what to record of the data, in JSON types. form: from
    `onnx_form`; without one the bundle needs torch. Raises Refusal BUNDLE_MANIFEST, ... where it would not load.
    """
    network, options, weights = result.recipe.network, result.recipe.network_options, _weights(result)
    return bundle.write(
        folder,
        identity=identity,
        labels=labels,
        spec=spec,
        network=network,
        network_options=options,
        weights=weights,
        selftest={**selftest.of_network(spec, network, options, weights, units), **(form.answers if form else {})},
        selftest_units=units,
        card=with_runtimes(card, form) if form else card,
        training={
            "recipe": result.recipe.to_json(),
            "made_with": result.made_with,
            "origin": result.origin.to_json(),
            "history": result.history,
            "data": dict(data),
        },
        evaluation=[{"data": name, "figures": figures.to_json()} for name, figures in evaluation.items()],
        extra_files=extra_files,
        **_files(form),
    )


def onnx_form_of(result: FitResult, spec: InputSpec, units: str, roles: Roles, *, progress: bool = False) -> OnnxForm:
    """The ONNX form of a fitted network. units: as of `export`. Raises Refusal(RESOURCE_MISSING_LIBRARY)."""
    network, options, weights = result.recipe.network, result.recipe.network_options, _weights(result)
    inputs = selftest.of_network(spec, network, options, weights, units)["inputs"]
    return onnx_form.make(onnx_form.Trained(network, options, weights, spec), roles, inputs, progress=progress)


def onnx_form_of_bundle(loaded: bundle.Bundle, roles: Roles, *, int8: bool, progress: bool = False) -> OnnxForm:
    """The ONNX form of a bundle's weights; its self-test is replayed first.

    Raises Refusal: RESOURCE_MISSING_LIBRARY, BUNDLE_UNSUPPORTED (a head of its own file: head_export.py writes such a
    bundle with its ONNX form at once), BUNDLE_SELFTEST (torch gives other answers here than at its maker's).
    """
    if not loaded.own_evidence:
        reason = f"another ONNX form for a head of kind {loaded.head.kind} on {loaded.network}"
        raise Refusal("BUNDLE_UNSUPPORTED", path=loaded.path, reason=reason)
    temperature = loaded.temperature
    trained = onnx_form.Trained(loaded.network, loaded.network_options, loaded.weights, loaded.spec, temperature)
    try:
        selftest.replay(loaded, trained.on_torch())
    except selftest.OtherAnswers as miss:
        raise Refusal("BUNDLE_SELFTEST", path=loaded.path, reason=f"torch on the CPU: {miss}") from miss
    return onnx_form.make(trained, roles, loaded.selftest["inputs"], int8=int8, progress=progress)


def export_again(folder: Path, loaded: bundle.Bundle, form: OnnxForm, **identity: Any) -> Path:
    """Write `folder` as a bundle with the content of another one and this ONNX form, and return it.

    identity: what of it is to be changed, e.g. version. Everything else is kept, extra files too (but no signature,
    which is of the other bundle's files).
    """
    manifest, files = loaded.manifest, bundle_files.read(loaded.path)
    (encoder,) = manifest["members"][0]["encoders"].values()
    own = {manifest["selftest"]["file"], manifest["model_card"], *(encoder.get(key) for key in _ENCODER_FILES)}
    own |= {bundle_files.MANIFEST, bundle_files.SIGNATURE}
    tensors = {name: tensor for name, tensor in loaded.selftest.items() if not name.startswith("logits.")}
    return bundle.write(
        folder,
        identity={key: manifest[key] for key in _IDENTITY if key in manifest} | identity,
        labels=loaded.labels,
        spec=loaded.spec,
        network=loaded.network,
        network_options=loaded.network_options,
        weights=loaded.weights,
        selftest=tensors | dict(form.answers),
        selftest_units=manifest["selftest"]["units"],
        card=with_runtimes(loaded.card, form),
        training=manifest["training"],
        evaluation=manifest["evaluation"],
        extra_files={name: content for name, content in files.items() if name not in own},
        **_files(form),
    )


def with_runtimes(card: str, form: OnnxForm) -> str:
    """A model card with its section on runtimes, in place of the one it may have at its end."""
    return f"{card.partition(_SECTION)[0].rstrip()}\n\n{_SECTION}\n\n{form.to_markdown()}"


def _weights(result: FitResult) -> dict[str, NDArray[Any]]:
    return {name: tensor.contiguous().numpy() for name, tensor in result.module.state_dict().items()}


def _files(form: OnnxForm | None) -> dict[str, Any]:
    """What `bundle.write` takes of a form."""
    return {"onnx": form.graph, "onnx_int8": form.int8, "agreement": form.record()} if form else {}


def model_card(
    identity: Mapping[str, Any], result: FitResult, groups: Mapping[str, int], figures: Figures | None
) -> str:
    """A model card in Markdown (after Mitchell et al. 2019): what for, what not, from what, how good.

    groups: role -> number of groups in it.
    """
    recipe = "\n".join(f"| {name} | {value} |" for name, value in result.recipe.to_json().items())
    origin = " ".join(value for value in result.origin.to_json().values() if value)
    return f"""# {identity["title"]} {identity["version"]}

Research use only, not for diagnosis. Licence of the weights: {identity["licence"]}.

**Intended use.** {identity["intended_use"]}

**Not for.** {" ".join(identity["out_of_scope"])}

**Known limits.** {" ".join(identity["known_limits"])}

## Data
Groups (patients, clusters) by role: {", ".join(f"{role} {count}" for role, count in groups.items())}.

## Training
First weights: {origin}.

| choice | value |
|---|---|
{recipe}

## Figures
{figures.to_markdown() if figures else "There was no evaluate role: nothing is known of its quality."}"""
