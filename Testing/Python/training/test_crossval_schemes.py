"""Splits of several folds: whatever the manifest, no group is in two roles and each is evaluated once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medimg_training.crossval_schemes import (
    calibration_scheme,
    from_fold_column,
    k_fold,
    leave_site_out,
    nested,
    repeated_k_fold,
    with_calibration,
    with_inner,
)
from medimg_training.datasets.manifest import Manifest, Row
from medimg_training.schemes import make_split
from medimg_training.split import ROLES, Fold, Split, labelled
from MedImgClassifierLib.engine.errors import Refusal

CLASSES = ("a", "b", "c")
SEEDS = range(12)


def manifest_of(rows: Sequence[Row], classes: tuple[str, ...] = CLASSES) -> Manifest:
    return Manifest(Path("manifest.csv"), tuple(rows), classes, "multiclass", "", "", "of these rows")


def rows_of(groups: dict[str, str], **columns: str) -> list[Row]:
    """One row for each letter of a group's labels; '-' is an unlabelled one."""
    return [
        Row(f"{group}.{n}", group, "patient", Path("x.png"), label.replace("-", ""), **columns)
        for group, labels in groups.items()
        for n, label in enumerate(labels)
    ]


def random_manifest(seed: int, groups: int = 60) -> Manifest:
    """Groups of very different sizes, rare and frequent classes, some groups mixed, some samples unlabelled."""
    random = np.random.default_rng(seed)
    made = {}
    for number in range(groups):
        label = CLASSES[number % 3] if number < 24 else random.choice(CLASSES, p=[0.7, 0.2, 0.1])
        labels = [label] * (1 + random.geometric(0.25))
        if random.random() < 0.2:
            labels += random.choice([*CLASSES, "-"], 2).tolist()
        made[f"g{number}"] = "".join(labels)
    made |= {"nobody": "--", "nothing": "-"}
    rows = rows_of(made)
    return manifest_of([rows[n] for n in random.permutation(len(rows))])


def with_sites(manifest: Manifest, sites: int, seed: int) -> Manifest:
    random = np.random.default_rng(seed)
    named = {row.group: str(random.choice([f"site {n}" for n in range(sites)])) for row in manifest.rows}
    rows = [Row(r.sample, r.group, r.group_kind, r.path, r.label, site=named[r.group]) for r in manifest.rows]
    return manifest_of(rows)


def groups_of(manifest: Manifest) -> set[str]:
    return {row.group for row in labelled(manifest)}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        call()
    assert refused.value.code == "DATA_SPLIT"
    return str(refused.value)


SCHEMES: dict[str, Callable[[Manifest, int], Split]] = {
    "k-fold": lambda manifest, seed: k_fold(manifest, 5, seed),
    "repeated": lambda manifest, seed: repeated_k_fold(manifest, 4, [seed, seed + 100]),
    "nested": lambda manifest, seed: nested(manifest, 4, 3, seed),
    "nested and calibrated": lambda m, seed: with_inner(m, nested(m, 4, 3, seed), 4, "calibrate", seed),
    "sites": lambda manifest, seed: leave_site_out(with_sites(manifest, 3, seed), 3),
    "hold-out": lambda m, seed: make_split(m, {"fit": 0.7, "select": 0.1, "evaluate": 0.2}, seed),
    "hold-out with inner folds": lambda m, seed: with_inner(
        m, make_split(m, {"fit": 0.7, "evaluate": 0.3}, seed), 3, "calibrate", seed
    ),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_manifest_no_group_leaks(scheme: str, seed: int) -> None:
    manifest = random_manifest(seed)
    split = SCHEMES[scheme](manifest, seed)
    assert split == SCHEMES[scheme](manifest, seed)
    everyone = groups_of(manifest)
    for fold in split.folds:
        for one, other in itertools.combinations(ROLES, 2):
            assert not set(getattr(fold, one)) & set(getattr(fold, other))
        assert fold.everyone == everyone  # the unlabelled are in no role
        for inner in fold.inner:
            assert inner.everyone == set(fold.fit) and not set(inner.fit) & {*inner.select, *inner.calibrate}
            assert not inner.everyone & {*fold.select, *fold.calibrate, *fold.evaluate}
        for held in ([g for i in fold.inner for g in i.select], [g for i in fold.inner for g in i.calibrate]):
            assert sorted(held) in ([], sorted(fold.fit))
    if not scheme.startswith("hold-out"):
        read = sorted(group for fold in split.folds for group in fold.evaluate)
        assert read == sorted([*everyone] * split.parameters.get("repeats", 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_class_is_fitted_and_evaluated_in_each_fold(seed: int) -> None:
    manifest = random_manifest(seed)
    for fold in nested(manifest, 4, 3, seed).folds:
        for groups in (fold.fit, fold.evaluate, *(i.fit for i in fold.inner), *(i.select for i in fold.inner)):
            assert {row.label for row in labelled(manifest) if row.group in groups} == set(CLASSES)


def test_seeds_draw_other_folds() -> None:
    manifest = random_manifest(0)
    assert k_fold(manifest, 5, 1).folds != k_fold(manifest, 5, 2).folds
    assert nested(manifest, 5, 4, 1).folds[0].inner != nested(manifest, 5, 4, 2).folds[0].inner
    alike = (Fold(tuple(sorted(groups_of(manifest)))),) * 2
    one, other = with_inner(manifest, Split(alike, "by hand", ""), 4, "select").folds
    assert one.inner != other.inner
    repeated = repeated_k_fold(manifest, 4, [3, 8])
    assert repeated.folds == k_fold(manifest, 4, 3).folds + k_fold(manifest, 4, 8).folds
    assert (repeated.seed, repeated.parameters) == (None, {"folds": 4, "repeats": 2, "seeds": [3, 8]})


def test_stratified_folds_are_nearer_to_the_whole_than_random_ones() -> None:
    def miss(manifest: Manifest, parts: Sequence[Sequence[str]]) -> float:
        """Mean distance between the classes' shares in a part and in all."""
        rows = labelled(manifest)
        whole = np.array([sum(row.label == name for row in rows) for name in CLASSES]) / len(rows)
        found = []
        for part in map(set, parts):
            own = [row.label for row in rows if row.group in part]
            found.append(np.abs(np.array([own.count(name) for name in CLASSES]) / len(own) - whole).mean())
        return float(np.mean(found))

    ours, random_ones = [], []
    for seed in SEEDS:
        manifest = random_manifest(seed)
        ours.append(miss(manifest, [fold.evaluate for fold in k_fold(manifest, 5, seed).folds]))
        shuffled = np.random.default_rng(seed).permutation(sorted(groups_of(manifest)))
        random_ones.append(miss(manifest, [part.tolist() for part in np.array_split(shuffled, 5)]))
    assert np.mean(ours) < 0.5 * np.mean(random_ones)


def test_every_class_with_fewer_groups_than_folds_is_named() -> None:
    few = manifest_of(rows_of({f"g{n}": "aaaa" for n in range(9)} | {"h": "ab", "i": "bbb", "j": "cccccc"}))
    text = refusal(lambda: k_fold(few, 3))
    assert "at least 3 groups for 3 folds" in text and "'b' (2)" in text and "'c' (1)" in text and "'a'" not in text
    one_image = manifest_of(rows_of({f"g{n}": "ab" for n in range(9)} | {"h": "c"}))
    assert "too few has class 'c' (1);" in refusal(lambda: k_fold(one_image, 2))
    empty = manifest_of(rows_of({f"g{n}": "ab" for n in range(9)} | {"h": "c-"}), (*CLASSES, "d"))
    assert "'c' (1), 'd' (0)" in refusal(lambda: k_fold(empty, 2))
    assert "1 folds are none" in refusal(lambda: k_fold(few, 1))


def test_one_patient_per_class_is_refused_by_every_scheme_that_draws() -> None:
    manifest = manifest_of(rows_of({"p": "aaaaaa", "q": "bbbbbb", "r": "cccccc"}))
    everyone = "'a' (1), 'b' (1), 'c' (1)"
    assert everyone in refusal(lambda: k_fold(manifest, 2))
    assert everyone in refusal(lambda: nested(manifest, 2, 2))
    assert everyone in refusal(lambda: make_split(manifest, {"fit": 0.5, "evaluate": 0.5}))


def test_classes_that_cannot_be_in_every_fold_at_once_are_refused() -> None:
    """Three groups hold all of b and of c, but one of them is needed for the other two's."""
    manifest = manifest_of(rows_of({"p": "bc", "q": "bc", "r": "b", "s": "c", **{f"g{n}": "a" for n in range(9)}}))
    assert len(k_fold(manifest, 3).folds) == 3
    torn = manifest_of(rows_of({"p": "abc", "q": "abc"}))
    assert [fold.evaluate for fold in k_fold(torn, 2).folds] in ([("p",), ("q",)], [("q",), ("p",)])
    stuck = manifest_of(rows_of({"p": "ab", "q": "ac", "r": "bc"}))
    assert "20 draws gave no 2 folds with every class in each" in refusal(lambda: k_fold(stuck, 2))


def test_too_few_groups_for_inner_folds_name_the_fold_and_the_class() -> None:
    manifest = manifest_of(rows_of({f"{label}{n}": label for label in CLASSES for n in range(4)}))
    assert len(nested(manifest, 4, 3).folds[0].inner) == 3
    text = refusal(lambda: nested(manifest, 4, 4))
    assert "4 inner folds of fold 0; too few has class 'a' (3), 'b' (3), 'c' (3)" in text
    assert "has inner folds to select with already" in refusal(
        lambda: with_inner(manifest, nested(manifest, 4, 3), 2, "select")
    )


def test_repeats_need_seeds_that_differ() -> None:
    manifest = random_manifest(0)
    assert "different seeds, not [1, 1]" in refusal(lambda: repeated_k_fold(manifest, 3, [1, 1]))
    assert "different seeds, not []" in refusal(lambda: repeated_k_fold(manifest, 3, []))


def sites(**sizes: int) -> list[Row]:
    """Groups of two samples at each site; an odd one is of class a, an even one of b."""
    return [
        row
        for site, size in sizes.items()
        for n in range(size)
        for row in rows_of({f"{site}{n}": "aa" if n % 2 else "bb"}, site=site)
    ]


def test_each_site_is_left_out_once_and_small_ones_together() -> None:
    split = leave_site_out(manifest_of(sites(east=12, west=10, north=6, south=5), ("a", "b")))
    assert split.parameters == {
        "names": ["east", "west", "north + south"],
        "fewest_groups": 10,
        "small": ["north", "south"],
    }
    for fold, own in zip(split.folds, (("east",), ("west",), ("north", "south")), strict=True):
        assert {group.rstrip("0123456789") for group in fold.evaluate} == set(own)
        assert not {group.rstrip("0123456789") for group in fold.fit} & set(own)
    assert "fewer than 10 groups together: north, south" in split.how
    assert "| north + south | evaluate | 11 / 22 |" in split.describe()


def test_sites_that_cannot_be_left_out_are_refused_by_name() -> None:
    def made(rows: list[Row]) -> Callable[[], Split]:
        return lambda: leave_site_out(manifest_of(rows, ("a", "b")))

    lonely = refusal(made(sites(east=12, west=10, north=6, south=3)))
    assert "site 'north', 'south' has 9 groups, even together fewer than 10" in lonely
    assert "there is only 'east'" in refusal(made(sites(east=12)))
    unknown = [*sites(east=12, west=12), *rows_of({"p": "ab"}), *rows_of({"q": "a-"})]
    assert "3 samples have no site: 'p.0', 'p.1', 'q.0'" in refusal(made(unknown))
    twice = [*sites(east=12, west=12), Row("x", "east3", "patient", Path("x.png"), "a", site="west")]
    assert "1 groups have more than one site: 'east3: east, west'" in refusal(made(twice))
    confounded = [*sites(east=12), *[row for row in sites(west=24) if row.label == "a"]]
    assert "with 'east' left out: role fit has no group of class b" in refusal(made(confounded))


def in_folds(folds: Sequence[int | None]) -> list[Row]:
    return [row for n, fold in enumerate(folds) for row in rows_of({f"g{n}": "ab"}, fold=fold)]


def test_the_fold_column_makes_the_folds_in_the_order_of_its_values() -> None:
    split = from_fold_column(manifest_of(in_folds([10, 2, 30, 2, 10, 30]), ("a", "b")))
    assert split.parameters["names"] == ["2", "10", "30"]
    assert [fold.evaluate for fold in split.folds] == [("g1", "g3"), ("g0", "g4"), ("g2", "g5")]


def test_fold_columns_that_are_none_are_refused_by_name() -> None:
    def made(rows: list[Row]) -> Callable[[], Split]:
        return lambda: from_fold_column(manifest_of(rows, ("a", "b")))

    assert "2 samples have no fold: 'g1.0', 'g1.1'" in refusal(made(in_folds([1, None, 2])))
    torn = [*in_folds([1, 2]), Row("x", "g0", "patient", Path("x.png"), "a", fold=2)]
    assert "more than one fold: 'g0: 1, 2'" in refusal(made(torn))
    assert "there is only '1'" in refusal(made(in_folds([1, 1])))
    only = [*in_folds([1]), *rows_of({"h": "a"}, fold=2)]
    assert "with '1' left out: role fit has no group of class b" in refusal(made(only))


def test_under_a_hundred_groups_calibration_is_of_inner_folds() -> None:
    assert [calibration_scheme(n).kind for n in (1, 99, 100, 5000)] == ["inner", "inner", "held_out", "held_out"]
    assert "99 groups, under 100" in calibration_scheme(99).reason
    few = random_manifest(0, 99)
    assert "99 groups, under 100" in refusal(lambda: with_calibration(few, k_fold(few, 5), 0.2))


@pytest.mark.parametrize("seed", range(4))
def test_groups_set_apart_to_calibrate_come_out_of_fit(seed: int) -> None:
    manifest = random_manifest(seed, 120)
    plain = k_fold(manifest, 5, seed)
    split = with_calibration(manifest, plain, 0.2, seed)
    assert split == with_calibration(manifest, plain, 0.2, seed)
    sizes: dict[str, int] = {}
    for row in labelled(manifest):
        sizes[row.group] = sizes.get(row.group, 0) + 1
    for before, fold in zip(plain.folds, split.folds, strict=True):
        assert {*fold.fit, *fold.calibrate} == set(before.fit) and fold.evaluate == before.evaluate
        share = sum(sizes[g] for g in fold.calibrate) / sum(sizes[g] for g in before.fit)
        assert share == pytest.approx(0.2, abs=0.04)
        assert {row.label for row in labelled(manifest) if row.group in fold.calibrate} == set(CLASSES)
    assert "0.2 of fit set apart to calibrate" in split.how
    assert split.parameters["calibrate"] == {"share": 0.2, "seed": seed}
    assert "already" in refusal(lambda: with_calibration(manifest, split, 0.2))
    assert "already" in refusal(lambda: with_calibration(manifest, nested(manifest), 0.2))
    assert "between 0 and 1" in refusal(lambda: with_calibration(manifest, plain, 1.0))


def test_a_class_too_rare_to_calibrate_with_is_refused() -> None:
    rare: dict[str, Any] = {f"g{n}": "ab" for n in range(110)} | {"x": "c", "y": "c"}
    manifest = manifest_of(rows_of(rare))
    text = refusal(lambda: with_calibration(manifest, k_fold(manifest, 2), 0.2))
    assert "at least 2 groups for fit and calibrate in fold 0; too few has class 'c' (1)" in text


def test_folds_made_by_hand_count_nothing() -> None:
    assert Split((Fold(("a",)),), "by hand", "").describe().startswith("By hand.")
