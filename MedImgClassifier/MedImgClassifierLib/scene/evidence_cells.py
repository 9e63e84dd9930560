"""Evidence maps of a classification as cells among the voxels of a volume node: where each lies, and how strong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .geometry import ijkToRas, isAcquisitionTransform, linearParentToWorld, rasFromLps, worldGeometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.result import Classification, Evidence
    from ..engine.volume import Floats


def evidenceCells(classification: Classification, label: int, volumeNode: Any) -> tuple[NDArray[Any], Floats]:
    """(uint8 [K, h, w], [4, 4] from (column, row, k, 1) to RAS mm before the parent transform of the volume).

    255 is the case's largest evidence for the label. Raises ValueError where the classification holds no evidence.
    """
    evidence = classification.evidence
    if evidence is None:
        raise ValueError("this classification holds no evidence")
    if isAcquisitionTransform(volumeNode.GetParentTransformNode()):
        return _onSlicesOfNode(evidence, label, classification, volumeNode)
    return _onEvenStack(evidence, label, volumeNode)


def _bytes(shown: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.round(shown * 255).astype(np.uint8)


def _onEvenStack(evidence: Evidence, label: int, volumeNode: Any) -> tuple[NDArray[Any], Floats]:
    """Cells [K, h, w] and their IJK to RAS, in the coordinates of the node (its linear parent transform undone).

    An irregular stack becomes even as `Volume.regular` makes the shown volume even, so both have the same slices.
    """
    from dataclasses import replace

    import numpy as np

    from ..engine.volume import Volume

    placement = evidence.placement
    spacing = [float(np.linalg.norm(step)) for step in (placement.column_step_lps, placement.row_step_lps)]
    stack = Volume(
        voxels=evidence.shown(label),
        row_direction_lps=placement.column_step_lps / spacing[0],
        column_direction_lps=placement.row_step_lps / spacing[1],
        spacing_mm=(spacing[0], spacing[1]),
        slice_origins_lps=placement.origins_lps,
        slice_thickness_mm=float(volumeNode.GetSpacing()[2]),
    )
    if stack.irregularity:
        # Outside the acquired slices the even stack repeats the smallest value, which must be "nothing" here.
        padded = np.pad(stack.voxels, ((0, 0), (0, 1), (0, 1)))
        stack, _shift = replace(stack, voxels=padded).regular()
    matrix = stack.ijk_to_lps
    assert matrix is not None  # regular() made it so
    return _bytes(stack.voxels), np.linalg.inv(linearParentToWorld(volumeNode)) @ rasFromLps(matrix)


def _onSlicesOfNode(
    evidence: Evidence, label: int, classification: Classification, volumeNode: Any
) -> tuple[NDArray[Any], Floats]:
    """Cells on the node's own slices, and their IJK to RAS before its non-linear parent transform.

    The transform bends patient space, but cells keep their place among the voxels of a slice.
    """
    import numpy as np

    rows = classification.slices.native_k
    if rows is None:
        raise ValueError("slices that were resampled have no place among those of a volume with such a transform")
    slices = worldGeometry(volumeNode)
    shown = evidence.shown(label)
    cells = np.zeros((len(slices.voxels), *shown.shape[1:]), np.float32)
    cells[list(rows)] = shown
    inPlane = np.stack([slices.row_direction_lps, slices.column_direction_lps])
    perVoxel = 1 / np.array(slices.spacing_mm)[:, None]
    offset = evidence.placement.origins_lps[0] - slices.slice_origins_lps[rows[0]]
    cellToVoxel = np.eye(4)
    for column, vector in enumerate((evidence.placement.column_step_lps, evidence.placement.row_step_lps)):
        cellToVoxel[:2, column] = (perVoxel * inPlane) @ vector
    cellToVoxel[:2, 3] = (perVoxel * inPlane) @ offset
    return _bytes(cells), ijkToRas(volumeNode) @ cellToVoxel
