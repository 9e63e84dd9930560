"""A short form of Testing/benchmarks/coverage_of_intervals.py: each kind of interval holds a known truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from medimg_training.evaluation.intervals import Interval

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import coverage_of_intervals

    yield coverage_of_intervals
    for name in ("coverage_of_intervals", "simulated_answers"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ("accuracy: Wilson, effective n", "p 0.9, ICC 0.3, 20 groups of about 20"),
        ("recall: Wilson, effective n", "recall 0.89, 30 groups of 10, shared 0.3"),
        ("AUC: DeLong", "AUC 0.86, 100 groups of 1, 20% positive"),
        ("AUC: cluster bootstrap", "AUC 0.86, 20 groups of 10, shared 0.3"),
        ("balanced accuracy: MOVER", "2 classes of 0.89, 30 groups of 10, shared 0.3, 50%"),
        ("macro F1: cluster bootstrap", "30 groups of 10, shared 0.3"),
        ("paired difference, accuracy: cluster bootstrap", "gain 0.5, 30 groups of 8, shared 0.3"),
        ("PPV at prevalence: MOVER", "sens. = spec. = 0.77, 40 groups of 8, shared 0.3, 20%"),
        ("ECE null band", "60 groups of 10, shared 0.8"),
    ],
)
def test_an_interval_holds_the_truth_about_as_often_as_it_says(coverage: Any, method: str, setting: str) -> None:
    row = coverage.measure(method, setting, coverage.SETTINGS[method, setting], 60)
    assert row.without <= 3
    assert row.coverage >= 0.86  # 2 standard errors and the 3 points below 0.95
    assert row.width > 0.01


def test_a_narrower_interval_would_be_noticed(coverage: Any) -> None:
    """The measurement itself: half of an interval's width covers too rarely."""
    method, setting = "recall: Wilson, effective n", "recall 0.89, 30 groups of 10, shared 0.3"

    def halved(random: Any) -> Any:
        truth, interval = coverage.SETTINGS[method, setting](random)
        middle, quarter = (interval.low + interval.high) / 2, (interval.high - interval.low) / 4
        return truth, Interval(middle - quarter, middle + quarter, "")

    row = coverage.measure(method, setting, halved, 60)
    assert row.coverage < 0.86 and row.verdict == "MISSES"
    assert row.coverage + row.above + row.below == pytest.approx(1)


def test_a_run_goes_on_where_it_was_stopped(coverage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(iter(coverage.SETTINGS))
    monkeypatch.setattr(coverage, "SETTINGS", dict(list(coverage.SETTINGS.items())[:2]))
    monkeypatch.setattr(sys, "argv", ["coverage", "--out", str(tmp_path), "--runs", "5"])
    coverage.main()
    rows = json.loads((tmp_path / "coverage.json").read_text("utf-8"))
    assert [row["runs"] for row in rows] == [5, 5]
    rows[0]["width"] = 0.123
    (tmp_path / "coverage.json").write_text(json.dumps(rows[:1]))
    coverage.main()
    again = json.loads((tmp_path / "coverage.json").read_text("utf-8"))
    assert again[0]["width"] == 0.123 and len(again) == 2
    assert "| 0.123 |" in (tmp_path / "coverage.md").read_text("utf-8") and first[1] in (
        tmp_path / "coverage.md"
    ).read_text("utf-8")
