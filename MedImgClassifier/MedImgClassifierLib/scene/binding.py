"""What a result is bound to: content and place of each input, and the bundle. Stands on the results table."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from . import nodes
from .geometry import ijkToRas, worldGeometry

if TYPE_CHECKING:
    from ..engine.result import Classification
    from ..engine.volume import Volume

TOLERANCE_MM = 0.01
"""How far a corner of a slice may move before the result lies elsewhere. Saving and loading a scene moves it by
1e-6 mm at most."""


class Place(NamedTuple):
    """Where all slices of a node lay at one moment."""

    geometry: Volume  # in the patient; no voxels
    ijk_to_ras: Any  # [4, 4] of the node itself


def placeOf(node: Any) -> Place:
    """Where a volume node lies now. Raises Refusal as worldGeometry."""
    return Place(worldGeometry(node), ijkToRas(node))


@dataclass(frozen=True)
class BoundInput:
    """One input as it was classified.

    content_sha256  `Volume.content_sha256`, which covers voxels and place
    first, last     the slices of the node that were classified; last is None for all
    geometry        the place of those slices, bit for bit as it was hashed; no voxels
    ijk_to_ras      of the node itself: tells a moved volume from a moved transform
    """

    channel: str
    content_sha256: str
    first: int
    last: int | None
    geometry: Volume
    ijk_to_ras: Any


def bind(
    table: Any,
    inputs: Mapping[str, Any],
    classification: Classification,
    hashes: Mapping[str, str] | None = None,
    places: Mapping[str, Place] | None = None,
) -> None:
    """Write on a results table what its result is true of: the inputs {channel: volume node}.

    hashes: {channel: content_sha256} where the nodes hold something else than what was classified (an even stack
    made of a tilted one); by default those of the classification. Without hashes the result stays unbound.
    places: {channel: where the node lay when its voxels were taken}; by default where it lies now.
    Raises Refusal INPUT_GEOMETRY, INPUT_VALUES where a node without a place has no slices any more.
    """
    if hashes is None:
        hashes = contentHashes(classification)
    if places is None:
        places = {channel: placeOf(node) for channel, node in inputs.items()}
    restriction = classification.provenance.get("restriction") or {}
    for n, node in enumerate(inputs.values()):
        table.SetNodeReferenceID(nodes.inputRole(n), node.GetID())
    for n in range(len(inputs), len(channels(table))):
        table.RemoveNodeReferenceIDs(nodes.inputRole(n))
    described = [
        {
            "channel": channel,
            "content_sha256": hashes.get(channel, ""),
            **_describe(places[channel], restriction.get("first", 0), restriction.get("last")),
        }
        for channel in inputs
    ]
    bound = {"manifest_sha256": classification.bundle.get("manifest_sha256", ""), "inputs": described}
    table.SetAttribute(nodes.BINDING, json.dumps(bound, ensure_ascii=False))


def contentHashes(classification: Classification) -> dict[str, str]:
    """{channel: content_sha256} of what was classified."""
    inputs = classification.provenance.get("inputs", {})
    return {channel: facts["content_sha256"] for channel, facts in inputs.items() if "content_sha256" in facts}


def channels(table: Any) -> list[str]:
    """Names of the channels that a result was made of, in the order of their reference roles; [] where unknown."""
    return [facts["channel"] for facts in _read(table)["inputs"]]


def manifestSha256(table: Any) -> str:
    """Hash of the manifest of the bundle that made a result, '' where unknown."""
    return str(_read(table)["manifest_sha256"])


def boundInputs(table: Any) -> list[BoundInput]:
    """What a result was made of; [] where nothing on the table says it."""
    try:
        found = [_boundInput(facts) for facts in _read(table)["inputs"]]
    except (ValueError, TypeError, LookupError):  # somebody edited the attribute
        return []
    return found if all(known.content_sha256 for known in found) else []


def classifiedSlices(node: Any, bound: BoundInput) -> Volume:
    """The slices of a node that were classified, where they lie now; no voxels. Raises Refusal as worldGeometry."""
    return _cut(worldGeometry(node), bound.first, bound.last)


def samePlace(geometry: Volume, bound: Volume) -> bool:
    """Whether slices of the same size lie where they lay, to TOLERANCE_MM at every corner."""
    import numpy as np

    if geometry.voxels.shape[:3] != bound.voxels.shape[:3]:
        return False
    _slices, rows, columns = geometry.voxels.shape[:3]
    corners = np.array([[0, 0, 1], [columns - 1, 0, 1], [0, rows - 1, 1], [columns - 1, rows - 1, 1]])

    def places(volume: Volume) -> Any:
        first = corners @ volume.slice_to_lps(0).T
        return first + (volume.slice_origins_lps - volume.slice_origins_lps[0])[:, None]

    return bool(np.abs(places(geometry) - places(bound)).max() <= TOLERANCE_MM)


def _describe(place: Place, first: int, last: int | None) -> dict[str, Any]:
    """The place of the slices first..last of a node. Numbers are exact: they are part of what was hashed."""
    import numpy as np

    geometry = _cut(place.geometry, first, last)
    return {
        "first": first,
        "last": last,
        "shape": list(geometry.voxels.shape),
        "spacing_mm": list(geometry.spacing_mm),
        "row_direction_lps": geometry.row_direction_lps.tolist(),
        "column_direction_lps": geometry.column_direction_lps.tolist(),
        "slice_origins_lps": base64.b64encode(np.asarray(geometry.slice_origins_lps, "<f8").tobytes()).decode(),
        "ijk_to_ras": place.ijk_to_ras.tolist(),
    }


def _boundInput(facts: Mapping[str, Any]) -> BoundInput:
    import numpy as np

    from ..engine.volume import Volume

    origins = np.frombuffer(base64.b64decode(facts["slice_origins_lps"]), "<f8").reshape(-1, 3)
    geometry = Volume(
        voxels=np.broadcast_to(np.uint8(0), tuple(facts["shape"])),
        row_direction_lps=np.array(facts["row_direction_lps"]),
        column_direction_lps=np.array(facts["column_direction_lps"]),
        spacing_mm=(facts["spacing_mm"][0], facts["spacing_mm"][1]),
        slice_origins_lps=origins.astype(np.float64),
    )
    return BoundInput(
        channel=facts["channel"],
        content_sha256=facts["content_sha256"],
        first=facts["first"],
        last=facts["last"],
        geometry=geometry,
        ijk_to_ras=np.array(facts["ijk_to_ras"]),
    )


def _cut(geometry: Volume, first: int, last: int | None) -> Volume:
    from dataclasses import replace

    if last is None:
        return geometry
    kept = slice(first, last + 1)
    return replace(geometry, voxels=geometry.voxels[kept], slice_origins_lps=geometry.slice_origins_lps[kept])


def _read(table: Any) -> Mapping[str, Any]:
    """What `bind` wrote; nothing where it did not, or somebody else wrote there."""
    nothing: Mapping[str, Any] = {"manifest_sha256": "", "inputs": []}
    try:
        found = json.loads(table.GetAttribute(nodes.BINDING) or "")
        return found if isinstance(found["inputs"], list) and "manifest_sha256" in found else nothing
    except (ValueError, TypeError, KeyError):
        return nothing
