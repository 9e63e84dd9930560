"""A fit that is killed, at whatever moment, goes on and ends with the bits of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork")


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("fits_that_die.py")
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path_factory.mktemp("killed"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_killed_at_each_step_of_each_write_it_ends_with_the_same_bits(fits: dict[str, Any]) -> None:
    killed = {name: fit for name, fit in fits.items() if name.startswith(("call", "torn"))}
    assert len(killed) == 26
    for name, fit in killed.items():
        assert fit["killed"], name
        assert fit["result"] == fits["whole"]["result"], name
    assert len(fits["whole"]["result"][1]) == 3


def test_each_step_of_a_write_was_met(fits: dict[str, Any]) -> None:
    """What lies in the folder tells the steps of the second save apart."""
    left = [fits[f"call {n}"]["left"] for n in range(7, 15)]
    kept, history = ["checkpoint.pt"], ["history.jsonl"]
    newest = ["checkpoint.newest.pt"]
    assert left[0] == left[1] == sorted([*kept, "checkpoint.newest.pt.part", *history])
    assert left[2] == left[3] == sorted([*kept, *newest, *history])
    assert left[4] == sorted(["checkpoint.previous.pt", *newest, *history])
    assert left[5] == left[6] == sorted([*kept, "checkpoint.previous.pt", *history, "history.jsonl.part"])
    assert left[7] == sorted([*kept, "checkpoint.previous.pt", *history])


def test_killed_at_some_moment_it_ends_with_the_same_bits(fits: dict[str, Any]) -> None:
    moments = [fit for name, fit in fits.items() if name.startswith("moment")]
    assert sum(fit["killed"] for fit in moments) >= 1
    assert all(fit["result"] == fits["whole"]["result"] for fit in moments)
