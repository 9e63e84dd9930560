"""From a fitted network to a bundle folder that the engine loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MedImgClassifierLib.engine import bundle, selftest
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.result import Label

from .evaluate import Figures
from .fit import FitResult


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
    extra_files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write `folder` as a bundle, whole or not at all, and return it.

    identity: as `bundle.write` asks for it. units: of the images the network was trained on, for the self-test.
    evaluation: name of a data set -> its figures. data: what to record of the data, in JSON types.
    Raises Refusal BUNDLE_MANIFEST, ... where the bundle would not load.
    """
    network, options = result.recipe.network, result.recipe.network_options
    weights = {name: tensor.contiguous().numpy() for name, tensor in result.module.state_dict().items()}
    return bundle.write(
        folder,
        identity=identity,
        labels=labels,
        spec=spec,
        network=network,
        network_options=options,
        weights=weights,
        selftest=selftest.of_network(spec, network, options, weights, units),
        selftest_units=units,
        card=card,
        training={
            "recipe": result.recipe.to_json(),
            "made_with": result.made_with,
            "origin": result.origin.to_json(),
            "history": result.history,
            "data": dict(data),
        },
        evaluation=[{"data": name, "figures": figures.to_json()} for name, figures in evaluation.items()],
        extra_files=extra_files,
    )


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
