"""Made-up volumes with one bright spot, and classifications whose evidence peaks where that spot is.

Needs numpy and the engine only. Every kind has the same voxels and another place in the patient.
"""

from __future__ import annotations

import numpy as np

from MedImgClassifierLib.engine.result import (
    Classification,
    Evidence,
    KeySlice,
    Label,
    Placement,
    SliceResults,
)
from MedImgClassifierLib.engine.volume import Source, Volume

KINDS = ("axial", "sagittal", "oblique", "flipped", "tilted")

SLICES, ROWS, COLUMNS = 10, 40, 56
CELLS = 8
CELL_PIXELS = COLUMNS / CELLS  # the network sees the image padded to a square of COLUMNS pixels
SPOT_K, SPOT_J, SPOT_I = 6, 11, 38
SPOT_ROW, SPOT_COLUMN = 2, 5  # the cell that holds the spot, which is not at its centre
SPACING = (0.9, 1.1)

BUNDLE = {
    "id": "example",
    "version": "1.0.0",
    "title": "Example",
    "intended_use": "Tests; nothing else: not diagnosis.",
    "licence": "Apache-2.0",
    "manifest_sha256": "0" * 64,
}


def exampleVolume(kind: str) -> Volume:
    """A Volume of one KIND, 10 slices of 40 x 56, dark noise with a spot of 1000 at voxel (k 6, j 11, i 38)."""
    voxels = np.random.default_rng(0).integers(0, 200, (SLICES, ROWS, COLUMNS)).astype(np.int16)
    voxels[SPOT_K, SPOT_J, SPOT_I] = 1000
    row, column = {
        "sagittal": ([0, 1, 0], [0, 0, -1]),
        "oblique": (_rotation() @ [1, 0, 0], _rotation() @ [0, 1, 0]),
    }.get(kind, ([1, 0, 0], [0, 1, 0]))
    normal = np.cross(row, column)
    steps = np.arange(SLICES)[:, None] * 4.0 * normal
    if kind == "flipped":
        steps = -steps
    if kind == "tilted":
        heights = np.cumsum([0, 4, 4, 1.1, 7, 4, 4, 4, 7, 4])[:, None]
        steps = heights * (normal + np.tan(np.radians(18.5)) * np.asarray(column))
    return Volume(
        voxels=voxels,
        row_direction_lps=row,
        column_direction_lps=column,
        spacing_mm=SPACING,
        slice_origins_lps=np.array([-31.0, 12.5, 40.0]) + steps,
        modality="MR",
        slice_thickness_mm=4.0,
        source=Source(
            description=f"head {kind}",
            sop_instance_uids=tuple(f"1.2.3.{n}" for n in range(SLICES)),
            instance_numbers=tuple(range(101, 101 + SLICES)),
        ),
    )


def spotLps(volume: Volume) -> np.ndarray:
    """[3] where the bright spot of a volume lies."""
    return volume.slice_to_lps(SPOT_K) @ [SPOT_I, SPOT_J, 1]


def exampleClassification(volume: Volume, maps: np.ndarray | None = None) -> Classification:
    """Labels 'spot' and 'nothing'; evidence for 'spot' peaks in the cell of the spot, none speaks for 'nothing'.

    maps: [N, 2, 8, 8] instead.
    """
    count = len(volume.voxels)
    if maps is None:
        maps = np.full((count, 2, CELLS, CELLS), -0.1, np.float32)
        for k, strength in ((SPOT_K - 1, 0.6), (SPOT_K, 1.0), (SPOT_K + 1, 0.6)):
            maps[k, 0, SPOT_ROW, SPOT_COLUMN - 1 : SPOT_COLUMN + 2] = 0.4 * strength
            maps[k, 0, SPOT_ROW - 1 : SPOT_ROW + 2, SPOT_COLUMN] = 0.4 * strength
            maps[k, 0, SPOT_ROW, SPOT_COLUMN] = 2.0 * strength
    certain = np.linspace(0.2, 0.9, count)
    probabilities = np.stack([certain, 1 - certain], axis=1)
    return Classification(
        labels=(Label("spot"), Label("nothing")),
        slices=SliceResults(
            centre_lps=volume.slice_centres_lps,
            normal_lps=np.tile(volume.normal_lps, (count, 1)),
            native_k=tuple(range(count)),
            logits=np.log(probabilities),
            probabilities=probabilities,
            instance_numbers=volume.source.instance_numbers,
            sop_instance_uids=volume.source.sop_instance_uids,
        ),
        evidence=Evidence(maps, maps.max(axis=(0, 2, 3)).clip(0), _placement(volume), "closed_form"),
        findings=(),
        key_slices=(KeySlice(SPOT_K, 0, "most_probable"),),
        calibrated=False,
        bundle=BUNDLE,
        provenance={"inputs": {"image": {"content_sha256": volume.content_sha256}}},
    )


def _placement(volume: Volume) -> Placement:
    """The cells lie over the image padded to a square, evenly above and below."""
    across = volume.row_direction_lps * volume.spacing_mm[0]
    down = volume.column_direction_lps * volume.spacing_mm[1]
    first = CELL_PIXELS / 2 - 0.5
    padding = (COLUMNS - ROWS) / 2
    return Placement(
        origins_lps=volume.slice_origins_lps + first * across + (first - padding) * down,
        column_step_lps=CELL_PIXELS * across,
        row_step_lps=CELL_PIXELS * down,
    )


def _rotation() -> np.ndarray:
    """[3, 3] some turn about all three axes."""
    turn = np.eye(3)
    for axis, degrees in ((0, 20.0), (1, -35.0), (2, 50.0)):
        a, b = [n for n in range(3) if n != axis]
        step = np.eye(3)
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        step[a, a], step[a, b], step[b, a], step[b, b] = c, -s, s, c
        turn = turn @ step
    return turn
