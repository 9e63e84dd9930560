"""What several rooms' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def spot_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made bundle of spot_bundle.py."""
    import spot_bundle as maker

    return maker.write(tmp_path_factory.mktemp("bundles") / "bright-spot")
