"""`medimg doctor` never raises: what is missing is a line of it."""

from __future__ import annotations

import pytest

from MedImgClassifierLib import doctor


@pytest.mark.parametrize("module", ["no_such_module", "no_such_package.part", "json.no_such_part"])
def test_a_library_that_is_not_there_is_a_line(module: str) -> None:
    line = doctor._library("no-such-distribution", module, "nothing", "train")
    assert line.startswith("  missing  no-such-distribution") and "medimgclassifier[train]" in line


def test_a_library_without_metadata_is_there() -> None:
    assert doctor._library("no-such-distribution", "json", "nothing", "") == (
        "  ok       no-such-distribution (version unknown)"
    )
