"""The demonstration of leakage shows some where there is some, and none where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimg_training import leakage
from medimg_training.cache import PreparedSet
from medimg_training.leakage import LeakageDemo, demonstrate, picture
from MedImgClassifierLib.engine.errors import Refusal

REPEATS = 4


def images_of(
    groups: int = 24, each: int = 5, size: int = 9, *, signature: float = 3.0, signal: float = 0.0
) -> PreparedSet:
    """Noise with a pattern of each group and, where there is a signal, brighter rows for one of the two classes."""
    random = np.random.default_rng(0)
    of = np.repeat(np.arange(groups), each)
    labels = of % 2
    images = random.normal(0, signature, (groups, 1, size, size))[of] + random.normal(0, 1, (len(of), 1, size, size))
    images[:, :, :3] += signal * labels[:, None, None, None]
    n = len(of)
    names = (tuple(f"s{k}" for k in range(n)), (0,) * n, tuple(f"g{k}" for k in of), ("",) * n, ("",) * n)
    return PreparedSet(images.astype(np.float32), labels, ("a", "b"), *names)


@pytest.fixture(scope="module")
def demo() -> LeakageDemo:
    """Patients that are known at once, labels that nothing in the images tells."""
    return demonstrate(images_of(), repeats=REPEATS)


def test_where_patients_are_known_again_a_split_by_image_claims_what_is_not_there(demo: LeakageDemo) -> None:
    for labels in ("true", "permuted"):
        assert demo.mean(labels, "image-wise").value > 0.95
        assert demo.mean(labels, "group-wise").value == pytest.approx(0.5, abs=0.12)
        inflation = demo.inflation(labels)
        assert inflation.low > 0.3 and inflation.low < inflation.value < inflation.high
    assert demo.chance == 0.5 and (demo.images, demo.groups, demo.folds) == (120, 24, 5)


def test_what_is_there_is_found_by_group_too() -> None:
    demo = demonstrate(images_of(signal=8.0), repeats=REPEATS)
    assert demo.mean("true", "group-wise").value > 0.9
    assert demo.mean("permuted", "group-wise").value == pytest.approx(0.5, abs=0.12)
    assert demo.inflation("true").value < 0.1 < demo.inflation("permuted").value


def test_where_patients_cannot_be_told_apart_nothing_leaks() -> None:
    demo = demonstrate(images_of(signature=0.0), repeats=REPEATS)
    for labels in ("true", "permuted"):
        assert demo.inflation(labels).value == pytest.approx(0, abs=0.1)


def test_the_demonstration_follows_its_seed(demo: LeakageDemo) -> None:
    again, other = demonstrate(images_of(), repeats=REPEATS), demonstrate(images_of(), seed=1, repeats=REPEATS)
    assert all(np.array_equal(demo.scores[key], again.scores[key]) for key in demo.scores)
    key = ("permuted", "group-wise")
    assert not np.array_equal(demo.scores[key], other.scores[key])
    assert len(set(demo.scores[key])) > 1


def test_the_interval_is_student_s(demo: LeakageDemo) -> None:
    mean = leakage.Mean.of(np.array([0.4, 0.5, 0.6]))
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.5, 0.2516, 0.7484), abs=1e-4)
    assert str(mean) == "0.500 [0.252, 0.748]"
    assert str(leakage.Mean.of(np.ones(3))) == "1.000 (the same in all repeats)"


def test_unlabelled_images_are_left_out_and_large_sets_are_drawn_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = images_of()
    prepared.labels[:5] = -1
    assert demonstrate(prepared, repeats=2).images == 115
    monkeypatch.setattr(leakage, "MOST_IMAGES", 62)
    drawn = demonstrate(images_of(), repeats=2)
    assert (drawn.images, drawn.groups) == (60, 12)


def test_the_text_says_by_how_much(demo: LeakageDemo) -> None:
    text = demo.to_markdown()
    assert "120 images of 24 groups, 5-fold, 4 repeats, seed 0" in text and "chance is 0.500" in text
    by_image, by_group = demo.mean("permuted", "image-wise"), demo.mean("permuted", "group-wise")
    assert f"| permuted | {by_image} | {by_group} | {demo.inflation('permuted')} |" in text
    assert f"a split by image claims {demo.inflation('permuted')} more than a split by group" in text


def test_the_picture_is_a_png(demo: LeakageDemo, tmp_path: Path) -> None:
    picture(demo, tmp_path / "leakage.png")
    with Image.open(tmp_path / "leakage.png") as image:
        assert image.format == "PNG" and image.size == (840, 480)
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert {(0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)} <= colours


def test_where_nothing_can_be_shown_it_is_refused() -> None:
    prepared = images_of()
    alone = replace(prepared, groups=prepared.samples)
    with pytest.raises(Refusal, match="each of the 120 groups has one labelled image"):
        demonstrate(alone)
    with pytest.raises(Refusal, match=r"fewer has class 'b \(1\)', 'c \(0\)'"):
        demonstrate(replace(prepared, labels=(prepared.labels * 0) + (np.arange(120) < 5), classes=("a", "b", "c")))
    with pytest.raises(Refusal, match="1 repeats have no interval"):
        demonstrate(prepared, repeats=1)


def test_small_images_are_means_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "SIDE", 2)
    images = np.arange(2 * 2 * 3 * 5, dtype=np.float32).reshape(2, 2, 3, 5)
    small = leakage._small(images, np.array([1]))
    cells = [
        images[1, c, r, k].mean() for c in (0, 1) for r in (slice(1), slice(1, 3)) for k in (slice(2), slice(2, 5))
    ]
    assert small.tolist() == [pytest.approx(cells)]
