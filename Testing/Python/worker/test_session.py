"""A session keeps one bundle warm, notices when it was replaced, and refuses in one line when a library is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib.engine import bundle as bundles
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.worker.session import Session


@pytest.fixture
def volume() -> Volume:
    voxels = np.random.default_rng(0).integers(0, 500, (3, 64, 64)).astype(np.int16)
    return Volume.from_matrix(voxels, np.eye(4))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The bundles that were loaded, in order."""
    seen: list[Path] = []
    load = bundles.load

    def noting(path: Path) -> Any:
        seen.append(path)
        return load(path)

    monkeypatch.setattr(bundles, "load", noting)
    return seen


def test_classifies_a_lone_volume(spot_bundle: Path, volume: Volume) -> None:
    assert len(Session().classify(volume, spot_bundle, device="cpu").slices) == 3


def test_bundle_stays_warm(spot_bundle: Path, volume: Volume, loads: list[Path]) -> None:
    session = Session()
    for _ in range(2):
        session.classify(volume, spot_bundle, device="cpu")
    assert len(loads) == 1


def test_replaced_bundle_is_loaded_again(spot_bundle: Path, volume: Volume, loads: list[Path]) -> None:
    session = Session()
    session.classify(volume, spot_bundle, device="cpu")
    os.utime(spot_bundle / "manifest.json", (1, 1))
    session.classify(volume, spot_bundle, device="cpu")
    assert len(loads) == 2


def test_closed_session_loads_again_when_asked(spot_bundle: Path, volume: Volume, loads: list[Path]) -> None:
    session = Session()
    session.classify(volume, spot_bundle, device="cpu")
    session.close()
    session.classify(volume, spot_bundle, device="cpu")
    assert len(loads) == 2


def test_progress_can_cancel(spot_bundle: Path, volume: Volume) -> None:
    def cancel(stage: str, fraction: float) -> None:
        raise Refusal("CANCELLED")

    with pytest.raises(Refusal) as refused:
        Session().classify(volume, spot_bundle, device="cpu", progress=cancel)
    assert refused.value.code == "CANCELLED"


@pytest.mark.parametrize("library", ["safetensors", "jsonschema"])
def test_missing_library_is_named(
    library: str, spot_bundle: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Refusal) as refused:
        Session().classify(volume, spot_bundle, device="cpu")
    assert refused.value.code == "RESOURCE_MISSING_LIBRARY"
    assert library in refused.value.message()


def test_missing_bundle_is_refused(tmp_path: Path, volume: Volume) -> None:
    with pytest.raises(Refusal) as refused:
        Session().classify(volume, tmp_path / "absent")
    assert refused.value.code == "BUNDLE_NOT_FOUND"
