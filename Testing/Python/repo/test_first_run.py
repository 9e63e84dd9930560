"""What `make run` leans on before anything is classified."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import check_libraries
import sample_volume
from MedImgClassifierLib.engine.reading import read_volume


def test_sample_is_one_real_volume_with_anatomy(tmp_path: Path) -> None:
    volume = read_volume(sample_volume.write_sample(tmp_path / "new" / "folder"))
    assert volume.voxels.shape == (24, 96, 128)
    np.testing.assert_allclose(volume.spacing_mm, (2, 2), atol=1e-3)
    middle = volume.voxels[12].astype(float)
    assert middle[40:56, 50:78].mean() > 20 * max(middle[:16, :16].mean(), 1)


def test_missing_system_library_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str) -> ModuleType:
        raise ImportError("libEGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(importlib, "import_module", load)
    assert check_libraries.main(["PySide6.QtWidgets"]) == 1
    assert "PySide6.QtWidgets needs the system library libEGL.so.1" in (said := capsys.readouterr().err)
    assert "libegl1" in said


def test_missing_python_package_is_not_taken_for_a_system_library() -> None:
    with pytest.raises(ModuleNotFoundError):
        check_libraries.main(["no_such_package_here"])
    assert check_libraries.main(["numpy"]) == 0
