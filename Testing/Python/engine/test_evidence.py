"""Where the cells of evidence lie, exactly: within one cell is what a reader needs, not what the code may be off by."""

from __future__ import annotations

import numpy as np
import pytest

from MedImgClassifierLib.engine.evidence import place
from MedImgClassifierLib.engine.networks import REGISTRY, Cells
from MedImgClassifierLib.engine.result import Placement


@pytest.mark.parametrize("name", REGISTRY)
def test_a_cell_is_centred_on_the_pixel_its_network_looks_at(name: str) -> None:
    info = REGISTRY[name]
    pixels = Placement(
        origins_lps=np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 8.0]]),
        column_step_lps=np.array([0.5, 0.1, 0.0]),
        row_step_lps=np.array([-0.2, 0.7, 0.3]),
    )
    evidence = place(np.zeros((2, 3, 4, 5), np.float32), pixels, info.cells({}), info.evidence)
    assert evidence.method == info.evidence
    for n, row, column in ((0, 0, 0), (1, 3, 2)):
        looked_at = (info.first_centre + info.stride * row, info.first_centre + info.stride * column)
        expected = pixels.cell_centre_lps(n, *looked_at)
        np.testing.assert_allclose(evidence.placement.cell_centre_lps(n, row, column), expected)


def test_cells_need_not_be_square() -> None:
    pixels = Placement(np.array([[1.0, 2.0, 3.0]]), np.array([0.5, 0.1, 0.0]), np.array([-0.2, 0.7, 0.3]))
    evidence = place(np.zeros((1, 2, 7, 7), np.float32), pixels, Cells((4.5, 2.0), (10.0, 5.0)), "occlusion")
    assert evidence.method == "occlusion"
    expected = pixels.cell_centre_lps(0, 4.5 + 3 * 10, 2.0 + 6 * 5)
    np.testing.assert_allclose(evidence.placement.cell_centre_lps(0, 3, 6), expected)


def test_the_scale_is_the_largest_support_of_each_label_over_the_whole_case() -> None:
    maps = np.zeros((2, 3, 1, 2), np.float32)
    maps[0, 0], maps[1, 0], maps[1, 1] = 2, 5, -4
    at = Placement(np.zeros((2, 3)), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    assert place(maps, at, REGISTRY["narrow_resnet"].cells({}), "closed_form").scale.tolist() == [5, 0, 0]
