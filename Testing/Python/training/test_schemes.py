"""Splits of one fold: drawn, from a column, by time. No group is in two roles, whatever is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from medimg_training.datasets.manifest import Manifest
from medimg_training.schemes import cut_date, make_split, split_from_column, temporal
from medimg_training.split import ROLES, Fold
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]
FRACTIONS: dict[Any, float] = {"fit": 0.6, "select": 0.1, "calibrate": 0.1, "evaluate": 0.2}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        call()
    assert refused.value.code == "DATA_SPLIT"
    return str(refused.value)


def test_the_column_s_words_become_roles(png_manifest: MakeManifest) -> None:
    (fold,) = split_from_column(Manifest.read(png_manifest(18))).folds
    assert fold == Fold(fit=("g0", "g1", "g3", "g4"), evaluate=("g2", "g5"))


def test_a_group_in_two_roles_is_refused(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: rows[1].update(split="test")))
    assert "group 'g0' is both in fit and in evaluate" in refusal(lambda: split_from_column(manifest))


def test_words_without_a_role_and_classes_that_cannot_be_fitted_are_refused(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: rows[4].update(split="")))
    assert "sample 's4' has split ''" in refusal(lambda: split_from_column(manifest))

    def leave_out_high(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["label"] == "high":
                row.update(split="test", group="other")

    manifest = Manifest.read(png_manifest(18, leave_out_high))
    assert "role fit has no group of class high" in refusal(lambda: split_from_column(manifest))


def test_unlabelled_rows_need_no_role(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: rows[0].update(split="", label="", group="elsewhere")))
    assert "elsewhere" not in split_from_column(manifest).folds[0].fit


def test_a_made_split_keeps_groups_whole_and_roles_near_their_fractions(png_manifest: MakeManifest) -> None:
    def unequal(rows: list[dict[str, Any]]) -> None:
        for n, row in enumerate(rows):
            row["group"] = f"p{min(n // 2, 3 + n // 5)}"

    manifest = Manifest.read(png_manifest(240, unequal))
    (fold,) = make_split(manifest, FRACTIONS, seed=3).folds
    everyone = [group for role in ROLES for group in getattr(fold, role)]
    assert sorted(everyone) == sorted({row.group for row in manifest.rows})
    for role in ROLES:
        rows = [row for row in manifest.rows if row.group in getattr(fold, role)]
        assert len(rows) / 240 == pytest.approx(FRACTIONS[role], abs=0.05)
        assert all(
            count / len(rows) == pytest.approx(1 / 3, abs=0.1) for count in Counter(r.label for r in rows).values()
        )


def test_a_made_split_follows_its_seed(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(120))
    assert make_split(manifest, FRACTIONS, 1) == make_split(manifest, FRACTIONS, 1)
    assert make_split(manifest, FRACTIONS, 1) != make_split(manifest, FRACTIONS, 2)


@pytest.mark.parametrize("fractions", [{"fit": 0.5}, {"fit": 1.2, "evaluate": -0.2}, {"evaluate": 1.0}, {"train": 1.0}])
def test_fractions_that_are_none_are_refused(png_manifest: MakeManifest, fractions: dict[Any, float]) -> None:
    manifest = Manifest.read(png_manifest(18))
    refusal(lambda: make_split(manifest, fractions))


def test_too_few_groups_are_refused(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(12))
    assert "4 groups are too few" in refusal(lambda: make_split(manifest, FRACTIONS))


def test_every_class_that_has_fewer_groups_than_there_are_roles_is_named(png_manifest: MakeManifest) -> None:
    def rare(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["label"] != "middle" and int(row["group"][1:]) > 2:
                row["label"] = "middle"
        rows[2]["label"] = rows[5]["label"] = "middle"

    manifest = Manifest.read(png_manifest(90, rare))
    text = refusal(lambda: make_split(manifest, FRACTIONS))
    assert "at least 4 groups for the roles fit, select, calibrate, evaluate" in text
    assert "'low' (3)" in text and "'high' (1)" in text and "'middle'" not in text


def test_too_few_samples_of_every_class_are_refused(png_manifest: MakeManifest) -> None:
    def one_by_one(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["group"] = row["sample"]

    manifest = Manifest.read(png_manifest(18, one_by_one))
    assert "no class has the 8 samples" in refusal(lambda: make_split(manifest, FRACTIONS))


def dated(rows: list[dict[str, Any]]) -> None:
    """Group n on day n + 1 of March; group 4 also on the 12th and 11 also on the 3rd."""
    for row in rows:
        row["acquired"] = f"2024-03-{int(row['group'][1:]) + 1:02d}"
    if len(rows) > 11 * 3:
        rows[4 * 3]["acquired"], rows[11 * 3]["acquired"] = "2024-03-12", "2024-03-03"


def test_in_time_fit_is_earlier_evaluate_later_and_what_straddles_is_in_neither(png_manifest: MakeManifest) -> None:
    split = temporal(Manifest.read(png_manifest(60, dated)), date(2024, 3, 11))
    (fold,) = split.folds
    assert set(fold.fit) == {f"g{n}" for n in range(10)} - {"g4"}
    assert set(fold.evaluate) == {f"g{n}" for n in range(10, 20)} - {"g11"}
    assert split.parameters == {"cut": "2024-03-11", "left_out": ["g11", "g4"]}
    assert "2 groups on both sides left out" in split.how


def test_no_image_of_fit_is_younger_than_any_to_be_evaluated(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(60, dated))
    for day in range(2, 20):
        (fold,) = temporal(manifest, date(2024, 3, day)).folds
        dates = [
            {row.acquired for row in manifest.rows if row.acquired and row.group in groups}
            for groups in (fold.fit, fold.evaluate)
        ]
        assert max(dates[0]) < min(dates[1])


def test_the_cut_is_where_about_the_fraction_of_groups_lies_later(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(60, dated))
    for fraction in (0.1, 0.25, 0.5, 0.8):
        (fold,) = temporal(manifest, cut_date(manifest, fraction)).folds
        later = len(fold.evaluate) / (len(fold.evaluate) + len(fold.fit))
        assert later == pytest.approx(fraction, abs=0.04)
    assert "between 0 and 1" in refusal(lambda: cut_date(manifest, 1.0))
    same = Manifest.read(png_manifest(18, lambda rows: [row.update(acquired="2024-03-01") for row in rows]))
    assert "no date has groups before it" in refusal(lambda: cut_date(same, 0.5))


def test_samples_without_a_date_are_refused_by_name(png_manifest: MakeManifest) -> None:
    def spoilt(rows: list[dict[str, Any]]) -> None:
        dated(rows)
        rows[7]["acquired"] = rows[20]["acquired"] = ""
        rows[8].update(label="", acquired="")  # unlabelled: nobody asks for its date

    manifest = Manifest.read(png_manifest(24, spoilt))
    message = refusal(lambda: temporal(manifest, date(2024, 3, 5)))
    assert "2 samples: 's7', 's20'" in message


def test_a_side_of_the_cut_without_a_class_is_refused(png_manifest: MakeManifest) -> None:
    def late(rows: list[dict[str, Any]]) -> None:
        dated(rows)
        for row in rows:
            if row["label"] == "high" and int(row["group"][1:]) < 10:
                row["label"] = "low"

    manifest = Manifest.read(png_manifest(60, late))
    assert "role fit has no group of class high" in refusal(lambda: temporal(manifest, date(2024, 3, 5)))
    everything = "role evaluate has no group of class low, middle, high"
    assert everything in refusal(lambda: temporal(manifest, date(2025, 1, 1)))
