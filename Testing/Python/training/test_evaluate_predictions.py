"""predictions.csv: read back to the last bit, and refused with a reason where it does not fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medimg_training.evaluation.figures import figures_of
from medimg_training.evaluation.predictions import Predictions
from MedImgClassifierLib.engine.errors import Refusal


def table(seeds: int = 2, n: int = 40) -> Predictions:
    """Two folds, groups of two images, the same images in each seed but in another order."""
    random = np.random.default_rng(3)
    order = np.concatenate([random.permutation(n) for _ in range(seeds)])
    return Predictions(
        samples=tuple(f's {k // 4}, "{k // 4}"' for k in order),
        slices=tuple(int(k % 4) for k in order),
        groups=tuple(f"g{k // 4}" for k in order),
        folds=np.array([k // 4 % 2 for k in order], np.int64),
        seeds=np.repeat(np.arange(seeds) + 7, n),
        labels=np.array([k % 3 for k in order], np.int64),
        logits=random.normal(size=(seeds * n, 3)) * 10.0 ** random.integers(-12, 3, (seeds * n, 3)),
        classes=("a", "b, c", "ü"),
        covariates={
            "site": tuple("Nord" if k < 20 else "" for k in order),
            "sex": tuple("mf"[k // 4 % 2] for k in order),
        },
    )


def refused(change: Any) -> str:
    with pytest.raises(Refusal) as caught:
        change()
    assert caught.value.code == "DATA_PREDICTIONS"
    assert caught.value.message("zh").startswith("error[DATA_PREDICTIONS]")
    return caught.value.message()


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    made, path = table(), tmp_path / "predictions.csv"
    made = replace(made, logits=np.where(np.arange(80)[:, None] == [5, -1, -1], -np.inf, made.logits))
    made.write(path)
    found = Predictions.read(path)
    assert found.logits.tobytes() == made.logits.tobytes()
    for name in ("samples", "slices", "groups", "classes", "covariates"):
        assert getattr(found, name) == getattr(made, name), name
    for name in ("folds", "seeds", "labels"):
        assert np.array_equal(getattr(found, name), getattr(made, name)), name
    assert figures_of(found) == figures_of(made)
    assert [own.name for own in tmp_path.iterdir()] == ["predictions.csv"]


def test_each_seed_has_the_same_images_in_the_same_order() -> None:
    made = table(3)
    first, second, third = made.by_seed()
    assert first.images == second.images == third.images
    assert first.images == made.images[:40]
    assert np.array_equal(second.labels, first.labels)
    row = made.images.index(second.images[4], 40)
    assert np.array_equal(second.logits[4], made.logits[row]) and second.seeds[4] == 8


def test_probabilities_of_huge_and_missing_logits_are_numbers() -> None:
    made = Predictions.of(np.array([[1e300, 0], [-np.inf, -1e300]]), np.array([0, 1]), ["g", "h"], ("a", "b"))
    assert made.probabilities.tolist() == [[1, 0], [0, 1]]
    assert made.called.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: replace(t, labels=t.labels + 1), "a label is none of the classes"),
        (lambda t: replace(t, labels=t.labels - 1), "a label is none of the classes"),
        (lambda t: replace(t, logits=np.where(t.logits == t.logits[3, 1], np.nan, t.logits)), "are not numbers"),
        (lambda t: replace(t, logits=np.full((80, 3), np.inf)), "are not numbers"),
        (lambda t: replace(t, logits=np.full((80, 3), -np.inf)), "are not numbers"),
        (lambda t: replace(t, logits=t.logits[:, :2]), "logits are (80, 2), not (80, 3)"),
        (lambda t: replace(t, classes=("a", "b", "a")), "each named once"),
        (lambda t: replace(t, groups=t.groups[:-1]), "differ in length"),
        (lambda t: replace(t, covariates={"site": ("x",)}), "differ in length"),
        (lambda t: replace(t, groups=("other", *t.groups[1:])), "two groups or labels"),
        (lambda t: replace(t, labels=np.r_[(t.labels[0] + 1) % 3, t.labels[1:]]), "two groups or labels"),
        (lambda t: replace(t, seeds=np.zeros(80, np.int64)), "stands twice in seed 0"),
        (lambda t: t.take(np.arange(79)), "seeds have different images"),
        (lambda t: replace(t, folds=np.r_[1 - t.folds[0], t.folds[1:]]), "is in two folds of seed 7"),
        (lambda t: t.take(np.arange(0)), "it has no rows"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: Any, reason: str) -> None:
    assert reason in refused(lambda: change(table()))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("sample,slice", "sample,slices", "no column slice"),
        ("logit.ü", "logit.x", "a column stands there twice"),
        ("\ns0,0,", "\ns0,zero,", "line 2, column 'slice': 'zero'"),
        (",x,", ",w,", "line 2, column 'label': 'w'"),
        (",0.5,", ",half,", "line 2, column 'logit.x': 'half'"),
        (",0.5,", ",nan,", "logits of sample 's0' are not numbers"),
        ("0.25\n", "0.25,9\n", "line 2 has 9 cells"),
        ("logit.", "score.", "fewer than two columns"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = "sample,slice,group,fold,seed,label,logit.x,logit.ü\ns0,0,g,0,0,x,0.5,0.25\ns1,0,h,0,0,ü,1.0,2.0\n"
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    assert len(Predictions.read(path)) == 2
    broken = text.replace(old, new, 1 if old != "logit." else 2)
    assert broken != text
    path.write_text(broken, encoding="utf-8")
    message = refused(lambda: Predictions.read(path))
    assert reason in message and str(path) in message


def test_a_file_that_is_no_text_or_is_not_there_or_is_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    assert "predictions.csv" in refused(lambda: Predictions.read(path))
    path.write_bytes(b"\xff\xfe\x00")
    refused(lambda: Predictions.read(path))
    path.write_text("")
    refused(lambda: Predictions.read(path))
    path.write_text("sample,slice,group,fold,seed,label,logit.x,logit.y\n")
    assert "no rows" in refused(lambda: Predictions.read(path))
