"""The checks before training: each fires on a seeded leak, says which samples, and is silent on clean sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from medimg_training.cache import PreparedSet
from medimg_training.checks import (
    background_shortcut,
    contradictory_labels,
    header_shortcut,
    mixed_modalities,
    near_duplicates,
    reuse,
    same_group,
    site_confounding,
    volume_values,
    words,
)
from medimg_training.checks import separability as separability_module
from medimg_training.checks.cells import Cells
from medimg_training.checks.headers import Header
from medimg_training.checks.model import CheckInput, CheckResult, TrainedOn
from medimg_training.checks.reuse import key_name, training_groups
from medimg_training.checks.run import CHECKS, run_checks
from medimg_training.checks.separability import separability
from medimg_training.datasets.manifest import Manifest, Row
from medimg_training.split import Fold, Split

SIDE = 32
KEY = b"a key of sixteen bytes or more"


def row_with(columns: dict[str, str], *required: Any) -> Row:
    """A row with some columns, of which some are known to a manifest."""
    known = {name: value for name, value in columns.items() if name in ("study", "series_uid", "site", "scanner")}
    return Row(*required, **known, covariates={key: value for key, value in columns.items() if key not in known})


@dataclass
class Samples:
    """What a set is made of, open to change by a test; one image a sample."""

    images: np.ndarray
    labels: list[int]
    groups: list[str]
    headers: list[Header]
    covariates: list[dict[str, str]] = field(default_factory=list)
    classes: tuple[str, ...] = ("healthy", "ill")
    split: Split | None = None
    paths: dict[int, str] = field(default_factory=dict)

    def data(self, **more: Any) -> CheckInput:
        names = [f"s{n:03}" for n in range(len(self.labels))]
        rows = tuple(
            row_with(other, name, group, "patient", Path(self.paths.get(n, f"{name}.png")), self.classes[label])
            for n, (name, group, label, other) in enumerate(
                zip(names, self.groups, self.labels, self.covariates, strict=True)
            )
        )
        manifest = Manifest(Path("manifest.csv"), rows, self.classes, "multiclass", "", "", "0" * 64)
        headers = dict(zip(names, self.headers, strict=True))
        kept = [n for n, name in enumerate(names) if not headers[name].problem]
        one = len(kept)
        prepared = PreparedSet(
            self.images[kept, None],
            np.array(self.labels, np.int64)[kept],
            self.classes,
            tuple(names[n] for n in kept),
            (0,) * one,
            tuple(self.groups[n] for n in kept),
            ("arbitrary",) * one,
            ("",) * one,
        )
        return CheckInput(manifest, prepared, headers, self.split, **more)


def clean(seed: int, groups: int = 50, classes: int = 2) -> Samples:
    """Two images a group: its own smooth anatomy, noise, and a soft blob in the middle whose width is the class. Sizes,
    spacings, sites and scanners are drawn by group and know nothing of it."""
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    images, labels, names, headers, covariates = [], [], [], [], []
    for group in range(groups):
        label = group % classes
        blob = np.exp(-(ys**2 + xs**2) / (2 * (2.0 + label) ** 2))
        anatomy = sum(gaussian_filter(random.normal(0, width, (SIDE, SIDE)), width) for width in (1.2, 3))
        header = Header(
            shape=(1, int(random.integers(60, 100)), int(random.integers(60, 100))),
            spacing_mm=(1.0, *2 * (float(random.choice([0.5, 0.7, 1.0])),)),
            axes="SPL",
            modality="MR",
            units="arbitrary",
            format="NIfTI",
        )
        where = {"site": str(random.choice(["north", "south", "west"])), "scanner": str(random.choice(["A", "B"]))}
        for _ in range(2):
            images.append(100 + 80 * blob + 50 * anatomy + random.normal(0, 4, (SIDE, SIDE)))
            labels.append(label)
            names.append(f"g{group:03}")
            headers.append(header)
            covariates.append(where)
    named = tuple(f"class {n}" for n in range(classes))
    return Samples(np.array(images, np.float32), labels, names, headers, covariates, named)


def halves(samples: Samples) -> Split:
    """The first half of the groups to fit, the second to evaluate."""
    names = sorted(set(samples.groups))
    return Split((Fold(tuple(names[: len(names) // 2]), evaluate=tuple(names[len(names) // 2 :])),), "test", "0" * 64)


def larger(samples: Samples, label: int) -> list[Header]:
    """The headers, with images of one class far larger than the others."""
    return [replace(samples.headers[0], shape=(1, 130 if own == label else 80, 80)) for own in samples.labels]


def pairs(result: CheckResult) -> list[tuple[str, str]]:
    return [(row.sample, row.other) for row in result.rows]


# ---------------------------------------------------------------- clean sets


@pytest.mark.parametrize("classes", [2, 3])
def test_every_check_is_silent_on_twenty_clean_sets(classes: int) -> None:
    """Of 250 clean sets one fires by chance (four tests at p <= 0.001 each); none of these twenty is that one."""
    alarms = []
    for seed in range(100, 120):
        samples = clean(seed, 60, classes)
        samples.split = halves(samples)
        entry, files = training_groups(["somebody else"], KEY)
        backbone = TrainedOn("other-1.0.0", entry["key"], frozenset(files[entry["file"]].decode().split()))
        report = run_checks(samples.data(backbone=backbone, key=KEY))
        assert {result.status for result in report.results} <= {"silent", "fires"}
        alarms += [(seed, result.code, result.message()) for result in report.results if result.status == "fires"]
    assert alarms == []


def test_every_answer_can_be_said_in_both_languages() -> None:
    for code, (english, chinese) in words.TEXTS.items():
        named = [{part.split("}")[0] for part in text.split("{")[1:]} for text in (english, chinese)]
        assert named[0] == named[1], code
        assert any("\u4e00" <= c <= "\u9fff" for c in chinese), code
    report = run_checks(clean(0).data())
    assert all(result.message() != result.message("zh") for result in report.results)
    assert set(words.ADVICE) == set(CHECKS)


# ---------------------------------------------------------------- copies


def brighter(image: np.ndarray) -> np.ndarray:
    return 1.3 * image + 20


def smaller(image: np.ndarray) -> np.ndarray:
    return zoom(zoom(image, 0.75, order=1), 1 / 0.75, order=1)[:SIDE, :SIDE]


def noisy(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng(1).normal(0, 2, image.shape)


@pytest.mark.parametrize("change", [np.array, brighter, smaller, noisy])
def test_a_copy_in_another_group_is_found_whatever_was_done_to_it(change: Callable[..., np.ndarray]) -> None:
    samples = clean(1)
    samples.images[70] = change(samples.images[11])
    result = near_duplicates.check(samples.data())
    assert result.status == "fires" and pairs(result) == [("s011", "s070")]
    assert ("1 identical" in result.rows[0].reason) is (change is np.array)


def test_a_copy_in_the_same_group_is_none_of_its_business() -> None:
    samples = clean(1)
    samples.images[11] = samples.images[10]
    assert near_duplicates.check(samples.data()).status == "silent"


def test_with_a_split_copies_count_across_roles_only() -> None:
    samples = clean(1)
    samples.split = halves(samples)
    samples.images[14] = samples.images[11]
    result = near_duplicates.check(samples.data())
    assert result.status == "silent" and pairs(result) == [("s011", "s014")]
    samples.images[70] = samples.images[20]
    result = near_duplicates.check(samples.data())
    assert result.status == "fires" and result.numbers["crossing"] == 1
    assert ["in fit and evaluate" in row.reason for row in result.rows] == [False, True]


def test_many_copies_of_one_image_are_all_named() -> None:
    samples = clean(1)
    samples.images[[20, 30, 40]] = samples.images[10]
    assert pairs(near_duplicates.check(samples.data())) == [("s010", "s020"), ("s010", "s030"), ("s010", "s040")]


def test_images_without_contrast_are_no_copies_of_each_other() -> None:
    samples = clean(1)
    samples.images[[20, 30]] = 7
    assert near_duplicates.check(samples.data()).status == "silent"


def volumes(labels: Sequence[int], alike: int) -> CheckInput:
    """Volumes of eight slices, one a group; the first `alike` slices of the second are nearly those of the first."""
    base = clean(3, 8 * len(labels))
    images = base.images[::2].copy()
    images[8 : 8 + alike] = images[:alike] * 1.1
    names = [f"v{n // 8}" for n in range(len(images))]
    one = base.data()
    rows = tuple(Row(f"v{n}", f"v{n}", "patient", Path(f"v{n}"), base.classes[k]) for n, k in enumerate(labels))
    known = np.repeat(labels, 8).astype(np.int64), base.classes, tuple(names), tuple(range(8)) * len(labels)
    prepared = PreparedSet(images[:, None], *known, tuple(names), ("arbitrary",) * len(names), ("",) * len(names))
    headers = {row.sample: base.headers[0] for row in rows}
    return replace(one, manifest=replace(one.manifest, rows=rows), prepared=prepared, headers=headers)


def test_volumes_are_copies_when_half_of_their_slices_are() -> None:
    assert pairs(near_duplicates.check(volumes([0, 1, 0], 4))) == [("v0", "v1")]
    assert near_duplicates.check(volumes([0, 1, 0], 3)).status == "silent"


def test_one_image_under_two_labels_is_a_contradiction_within_a_group_too() -> None:
    samples = clean(1)
    samples.images[12] = samples.images[10] * 1.2  # near, in another group of the other class
    samples.images[41], samples.labels[41] = samples.images[40], 1 - samples.labels[40]
    samples.images[44] = samples.images[40]  # same class
    samples.images[51], samples.labels[51] = samples.images[50] * 1.2, 1 - samples.labels[50]  # near, in its own group
    result = contradictory_labels.check(samples.data())
    assert result.status == "fires"
    assert pairs(result) == [("s010", "s012"), ("s040", "s041")]
    assert "labelled 'class 1' and 'class 0'" in result.rows[0].reason


@pytest.mark.parametrize("column", ["study", "series_uid", "PatientID"])
def test_one_patient_study_or_series_in_two_groups_is_found(column: str) -> None:
    samples = clean(1)
    samples.covariates = [
        row | {column: f"id {group}"} for row, group in zip(samples.covariates, samples.groups, strict=True)
    ]
    assert same_group.check(samples.data()).status == "silent"
    samples.covariates[80] = samples.covariates[80] | {column: "id g003"}
    result = same_group.check(samples.data())
    assert result.status == "fires" and pairs(result) == [("s006", "s080")]
    assert column.lower() in result.message()
    samples.split = halves(samples)
    assert "in fit and evaluate" in same_group.check(samples.data()).rows[0].reason
    samples.covariates[80] = samples.covariates[81]
    samples.covariates[20] = samples.covariates[20] | {column: "id g003"}
    result = same_group.check(samples.data())
    assert result.status == "silent" and pairs(result) == [("s006", "s020")]


def test_one_file_and_one_series_of_files_in_two_groups_are_found() -> None:
    samples = clean(1)
    samples.paths = {4: "volume.nii", 60: "volume.nii"}
    samples.headers[7] = replace(samples.headers[7], series_uid="1.2.3", study_uid="1.2")
    samples.headers[31] = replace(samples.headers[31], series_uid="1.2.3", study_uid="1.2")
    result = same_group.check(samples.data())
    assert sorted(pairs(result)) == [("s004", "s060"), ("s007", "s031"), ("s007", "s031")]


# ---------------------------------------------------------------- shortcuts


def test_a_box_whose_size_goes_with_the_class_is_found() -> None:
    samples = clean(2)
    for n, label in enumerate(samples.labels):
        slices, rows, columns = samples.headers[n].shape
        samples.headers[n] = replace(samples.headers[n], shape=(slices, rows + 25 * label, columns))
    result = header_shortcut.check(samples.data())
    assert result.status == "fires" and result.numbers["auc"] > 0.8 and result.numbers["p"] == 1 / 2000
    assert result.facts["telling"] in ("voxels (rows)", "extent (rows)", "rows / columns")
    assert background_shortcut.check(samples.data()).status == "silent"


@pytest.mark.parametrize("name", ["scanner", "modality"])
def test_a_text_that_goes_with_one_of_three_classes_is_found(name: str) -> None:
    samples = clean(2, 60, 3)
    samples.covariates = [{name: "X" if label == 2 else "Y"} for label in samples.labels]
    result = header_shortcut.check(samples.data())
    assert result.status == "fires" and result.facts["best"] == "class 2"
    assert result.facts["telling"] in (f"{name} 'X'", f"{name} 'Y'")


def test_a_middle_size_is_found_as_well_as_a_large_one() -> None:
    samples = clean(2, 60)
    random = np.random.default_rng(0)
    for group in range(60):
        rows = int(random.integers(75, 80)) if group % 2 else int(random.choice([60, 65, 90, 95]))
        for n in (2 * group, 2 * group + 1):
            samples.headers[n] = replace(samples.headers[n], shape=(1, rows, 80), spacing_mm=(1, 1, 1))
    assert header_shortcut.check(samples.data()).numbers["auc"] > 0.95


def test_a_field_of_view_is_found_although_neither_voxels_nor_spacing_tell() -> None:
    samples = clean(2)
    random = np.random.default_rng(0)
    for n, label in enumerate(samples.labels):
        rows = int(random.integers(40, 200))
        samples.headers[n] = replace(samples.headers[n], shape=(1, rows, 80), spacing_mm=(1, (80 + label) / rows, 1))
    result = header_shortcut.check(samples.data())
    assert result.numbers["auc"] > 0.95 and result.facts["telling"] == "extent (rows)"


@pytest.mark.parametrize("kind", ["corner", "noise"])
def test_what_lies_around_the_object_gives_its_class_away(kind: str) -> None:
    samples = clean(4)
    random = np.random.default_rng(0)
    for image, label in zip(samples.images, samples.labels, strict=True):
        if kind == "corner":
            image[-3:, :3] += 60 * label
        else:
            image += random.normal(0, 8, image.shape) * label
    result = background_shortcut.check(samples.data())
    assert result.status == "fires"
    assert result.facts["telling"] in ("lower left corner" if kind == "corner" else "high-frequency energy",)
    assert header_shortcut.check(samples.data()).status == "silent"


def test_many_slices_of_few_patients_are_few_observations() -> None:
    """24 patients with 30 slices each, whose border is each patient's own: without groups it would look significant."""
    random = np.random.default_rng(5)
    groups = [f"g{n // 30}" for n in range(24 * 30)]
    labels = np.array([n // 30 % 2 for n in range(24 * 30)])
    own = np.repeat(random.normal(0, 1, (24, 4)), 30, axis=0) + random.normal(0, 0.1, (720, 4))
    found = separability(own, Cells.of(groups, labels), [0, 1], permutations=999, seed=0)
    assert found.cells == 24 and not found.matters
    alone = Cells.of([str(n) for n in range(720)], labels)
    assert separability(own, alone, [0, 1], permutations=999, seed=0).matters


def test_scores_are_of_parts_that_the_classifier_has_not_seen() -> None:
    """Forty numbers that mean nothing would tell sixty patients apart wherever the classifier had seen them."""
    auc = []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 1, (60, 40))
        cells = Cells.of([str(n) for n in range(60)], np.arange(60) % 2)
        auc.append(separability(noise, cells, [0, 1], permutations=1, seed=seed).auc)
    assert 0.44 < np.mean(auc) < 0.56


def test_labels_are_permuted_among_groups_as_they_stand() -> None:
    groups = ["a", "a", "b", "b", "c", "d", "e", "e", "e"]
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 0, 0])
    cells = Cells.of(groups, labels)
    assert len(cells) == 7
    random, seen = np.random.default_rng(0), set()
    for _ in range(60):
        permuted = cells.permuted(random)
        sets = [tuple(sorted(permuted[cells.groups == g])) for g in range(5)]
        assert sorted(sets[:2]) == [(0, 1), (0, 2)] and sorted(sets[2:]) == [(0,), (1,), (2,)]
        seen.add(tuple(permuted))
    assert len(seen) > 20


def test_p_keeps_its_promise_where_there_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 clean sets of 24 patients with two or three labels among them, p <= 0.1 in about a tenth."""
    monkeypatch.setattr(separability_module, "MATTERS", -1.0)
    found = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        groups = [f"g{n // 2}" for n in range(48)]
        cells = Cells.of(groups, random.integers(0, 3, 48))
        features = np.repeat(random.normal(0, 1, (24, 3)), 2, axis=0) + random.normal(0, 0.3, (48, 3))
        found.append(separability(features, cells, [0, 1, 2], permutations=99, seed=seed).p)
    assert 0.02 < np.mean(np.array(found) <= 0.1) < 0.2


@pytest.mark.parametrize("check", [header_shortcut.check, background_shortcut.check])
def test_too_few_groups_of_a_class_are_said_and_not_judged(check: Callable[[CheckInput], CheckResult]) -> None:
    samples = clean(2, 30)
    samples.labels = [int(group < "g004") for group in samples.groups]
    samples.headers = larger(samples, 1)
    samples.images[np.array(samples.labels) == 1, :4, :4] = 500
    result = check(samples.data())
    assert result.status == "not applicable" and "4 groups of class class 1" in result.message()


def test_a_rare_class_is_left_out_and_the_others_are_judged() -> None:
    samples = clean(2, 60, 3)
    samples.labels = [2 if group < "g003" else n % 4 // 2 for n, group in enumerate(samples.groups)]
    samples.headers = larger(samples, 1)
    result = header_shortcut.check(samples.data())
    assert result.status == "fires" and set(result.numbers["auc_by_class"]) == {"class 0", "class 1"}
    assert result.numbers["left_out"] == "3 groups of class class 2"


@pytest.mark.parametrize("column", ["site", "scanner"])
def test_a_site_that_goes_with_the_label_is_found(column: str) -> None:
    samples = clean(6, 60)
    random = np.random.default_rng(0)
    for group in range(60):
        ill = group % 2 == 1
        where = {column: "north" if random.random() < (0.85 if ill else 0.2) else "south"}
        samples.covariates[2 * group] = samples.covariates[2 * group + 1] = where
    result = site_confounding.check(samples.data())
    assert result.status == "fires" and column in result.message()
    assert result.numbers[column]["v"] > 0.4 and result.numbers[column]["p"] <= 0.001
    assert result.numbers[column]["one_class_sites"] == {}


def test_a_site_of_one_class_only_is_named_with_its_samples() -> None:
    samples = clean(6, 90)
    for n, label in enumerate(samples.labels):
        samples.covariates[n] = {"site": "hospice" if label and samples.groups[n] < "g024" else "clinic"}
    result = site_confounding.check(samples.data())
    assert result.status == "fires" and result.numbers["site"]["one_class_sites"] == {"hospice": "class 1"}
    assert {row.sample for row in result.rows} == {f"s{n:03}" for n in range(48) if n % 4 > 1}
    for n in range(12, len(samples.covariates)):
        samples.covariates[n] = {"site": "clinic"}
    assert site_confounding.check(samples.data()).status == "silent"  # three patients of one class are chance


def test_without_sites_there_is_nothing_to_say() -> None:
    samples = clean(6)
    samples.covariates = [{"site": "here"} for _ in samples.labels]
    assert site_confounding.check(samples.data()).status == "not applicable"
    samples = clean(6, 8)
    result = site_confounding.check(samples.data())
    assert result.status == "not applicable" and "fewer than 10" in result.message()


def test_bias_corrected_v_is_that_of_its_paper() -> None:
    assert site_confounding.corrected_v(np.array([[10.0, 0], [0, 10]])) == pytest.approx(1)
    assert site_confounding.corrected_v(np.array([[10.0, 10], [10, 10]])) == 0
    # n 60, phi2 1/9: (1/9 - 1/59) / (2 - 1/59 - 1)
    assert site_confounding.corrected_v(np.array([[20.0, 10], [10, 20]])) == pytest.approx(0.30949, abs=1e-4)


# ---------------------------------------------------------------- the rest


def test_two_modalities_are_worse_when_they_go_with_the_label() -> None:
    samples = clean(7)
    samples.headers = [replace(h, modality="CT" if n < 20 else "MR") for n, h in enumerate(samples.headers)]
    result = mixed_modalities.check(samples.data())
    assert result.status == "fires" and "go with the label" not in result.message()
    assert [row.sample for row in result.rows] == [f"s{n:03}" for n in range(20)]
    samples.headers = [replace(samples.headers[0], modality=("MR", "CT")[k]) for k in samples.labels]
    assert "go with the label (Cramer's V 1.00)" in mixed_modalities.check(samples.data()).message()


def test_the_manifest_decides_what_a_modality_is_and_units_count_too() -> None:
    samples = clean(7)
    samples.headers = [replace(h, modality="") for h in samples.headers]
    assert mixed_modalities.check(samples.data()).status == "silent"
    samples.headers[3] = replace(samples.headers[3], units="HU")
    assert [row.sample for row in mixed_modalities.check(samples.data()).rows] == ["s003"]
    samples = clean(7)
    samples.covariates[5] = {"modality": "CT"}
    assert [row.sample for row in mixed_modalities.check(samples.data()).rows] == ["s005"]


def test_unreadable_not_finite_and_empty_samples_are_named() -> None:
    samples = clean(8)
    samples.headers[2] = Header(problem="error[INPUT_NOT_FINITE]: it has NaN")
    samples.images[4, 3, 3], samples.images[6, 3, 3] = np.nan, np.inf
    samples.images[9] = 0
    result = volume_values.check(samples.data())
    assert result.status == "fires"
    assert [(row.sample, row.reason) for row in result.rows] == [
        ("s002", "cannot be used: error[INPUT_NOT_FINITE]: it has NaN"),
        ("s004", "1 of 1 slices have values that are not finite"),
        ("s006", "1 of 1 slices have values that are not finite"),
        ("s009", "1 of 1 slices have no contrast"),
    ]
    assert result.numbers["empty"] == 1


def test_a_few_empty_slices_at_the_ends_of_a_volume_are_usual() -> None:
    data = volumes([0, 1], 0)
    data.prepared.images[:3] = 0
    result = volume_values.check(data)
    assert result.status == "silent" and result.numbers["empty"] == 3
    data.prepared.images[3] = 0
    assert [row.reason for row in volume_values.check(data).rows] == ["4 of 8 slices have no contrast"]


def test_groups_that_a_backbone_was_trained_on_are_found_by_who_has_the_key() -> None:
    samples = clean(9)
    entry, files = training_groups(["g010", "g030", "g031", "elsewhere"], KEY)
    content = files[entry["file"]].decode()
    assert "g010" not in content and len(content.split()) == 4 and KEY.decode() not in str(entry)
    backbone = TrainedOn("body-1.0.0", entry["key"], frozenset(content.split()))
    result = reuse.check(samples.data(backbone=backbone, key=KEY))
    assert result.status == "fires" and {row.group for row in result.rows} == {"g010", "g030", "g031"}
    samples.split = halves(samples)  # g010 is learned from again, which does no harm
    result = reuse.check(samples.data(backbone=backbone, key=KEY))
    assert {row.group for row in result.rows} == {"g030", "g031"} and "2 of the 25 groups" in result.message()


def test_a_backbone_that_cannot_be_compared_says_why() -> None:
    samples = clean(9)
    backbone = TrainedOn("body-1.0.0", key_name(KEY), frozenset({"0" * 64}))
    asked = [
        ({}, "no bundle"),
        ({"backbone": TrainedOn("body-1.0.0")}, "does not say"),
        ({"backbone": backbone}, f"key missing: bundle 'body-1.0.0' says its groups under the key {key_name(KEY)}"),
        ({"backbone": backbone, "key": KEY + b"!"}, "the key is another one"),
    ]
    for more, why in asked:
        result = reuse.check(samples.data(**more))
        assert result.status == "not applicable" and why in result.message()
    assert reuse.check(samples.data(backbone=backbone, key=KEY)).status == "silent"
    with pytest.raises(ValueError, match="16 bytes"):
        training_groups(["g"], b"short")
