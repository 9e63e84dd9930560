"""What several rooms' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def user_bundles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for imported bundles, which does not exist at first: no test sees or touches the user's own."""
    folder = tmp_path_factory.mktemp("user") / "bundles"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDIMG_BUNDLES", str(folder))
        yield folder


@pytest.fixture(scope="session")
def spot_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made bundle of spot_bundle.py."""
    import spot_bundle as maker

    return maker.write(tmp_path_factory.mktemp("bundles") / "bright-spot")
