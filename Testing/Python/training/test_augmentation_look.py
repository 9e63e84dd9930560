"""The sheet to look at: every change of the strongest preset has its row."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image

from medimg_training.augmentation.look import extremes, main
from medimg_training.augmentation.policy import PRESETS, Chance, Policy


def test_each_change_has_a_row_of_its_own_at_the_end_of_its_range() -> None:
    rows = dict(extremes(PRESETS["strong"]))
    changes = {f.name for f in fields(Policy) if isinstance(f.default, Chance)} | {"affine"}
    assert set(rows) == changes
    assert rows["noise"] == Policy(noise=Chance(1, 0.4, 0.4))
    assert rows["low_resolution"].low_resolution == Chance(1, 0.3, 0.3)


def test_a_picture_becomes_a_sheet(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)).save(tmp_path / "a.png")
    main([str(tmp_path / "sheet.png"), str(tmp_path / "a.png")])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 5 * sheet.width  # one column
