"""Classification and results.json: lossless, valid by the schema, and readable by its documentation alone."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from MedImgClassifierLib.engine.result import (
    Classification,
    Code,
    Evidence,
    Finding,
    KeySlice,
    Label,
    Placement,
    SliceResults,
)

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "MedImgClassifier/Resources/Schemas/results.schema.json").read_text("utf-8"))
BUNDLE = {
    "id": "body-region",
    "version": "1.0.0",
    "title": "Body region",
    "intended_use": "sorting series",
    "licence": "CC-BY-SA-4.0",
    "manifest_sha256": "a" * 64,
}


def made(rows: int = 4, evidence: bool = True) -> Classification:
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(rows, 3)) * 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    maps = rng.normal(size=(rows, 3, 2, 5)).astype(np.float32)
    placement = Placement(rng.normal(size=(rows, 3)) * 50, np.array([7.1, 0.0, 1 / 3]), np.array([0.0, -np.pi, 0.0]))
    return Classification(
        labels=(Label("HeadCT", Code("SCT", "69536005", "Head")), Label("胸部 CT"), Label('a,"b"\n=c')),
        slices=SliceResults(
            centre_lps=rng.normal(size=(rows, 3)) * 100,
            normal_lps=np.tile([0.0, 0.6, 0.8], (rows, 1)),
            native_k=tuple(range(2, 2 + rows)),
            logits=logits,
            probabilities=probabilities,
            instance_numbers=tuple(range(30, 30 - rows, -1)),
            sop_instance_uids=tuple(f"1.2.{n}" for n in range(rows)),
        ),
        evidence=Evidence(maps, np.maximum(maps, 0).max(axis=(0, 2, 3)).astype(float), placement, "closed_form")
        if evidence
        else None,
        findings=(Finding("QUALITY_TILT", "warn", "tilted by 18.5°", {"degrees": 18.5, "cause": "gantry"}),),
        key_slices=(KeySlice(1, 0, "most_probable"), KeySlice(2, 1, "least_certain")),
        calibrated=False,
        bundle=BUNDLE,
        provenance={"seconds": {"forward": 0.1}, "device": "cpu"},
    )


VARIANTS = {
    "with everything": made(),
    "one slice": made(rows=1),
    "without evidence": made(evidence=False),
    "cut in another plane": replace(
        made(), slices=replace(made().slices, native_k=None, instance_numbers=(), sop_instance_uids=())
    ),
    "refused": replace(made(), findings=(Finding("QUALITY_LOCALIZER", "refuse", "a localizer"),)),
}


@pytest.mark.parametrize("classification", VARIANTS.values(), ids=VARIANTS.keys())
def test_results_json_is_valid_and_gives_the_same_classification_back(classification: Classification) -> None:
    document = json.loads(json.dumps(classification.to_json(), allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    back = Classification.from_json(document)
    assert json.loads(json.dumps(back.to_json())) == document
    for name in ("centre_lps", "normal_lps", "logits", "probabilities"):
        before, after = getattr(classification.slices, name), getattr(back.slices, name)
        assert after.dtype == np.float64
        assert np.array_equal(before, after), name
    for name in ("native_k", "instance_numbers", "sop_instance_uids"):
        assert getattr(back.slices, name) == getattr(classification.slices, name)
    for name in ("labels", "findings", "key_slices", "calibrated", "bundle", "provenance"):
        assert getattr(back, name) == getattr(classification, name)
    assert (back.evidence is None) == (classification.evidence is None)
    if classification.evidence and back.evidence:
        assert back.evidence.maps.dtype == np.float32
        assert np.array_equal(back.evidence.maps, classification.evidence.maps)
        assert np.array_equal(back.evidence.scale, classification.evidence.scale)
        for name in ("origins_lps", "column_step_lps", "row_step_lps"):
            assert np.array_equal(
                getattr(back.evidence.placement, name), getattr(classification.evidence.placement, name)
            )


def objects(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict):
        yield path
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from objects(child, (*path, key))


def test_the_schema_refuses_an_unknown_or_missing_field_everywhere_but_in_provenance() -> None:
    document = json.loads(json.dumps(made().to_json()))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    seen = 0
    for path in objects(document):
        changed = copy.deepcopy(document)
        node = changed
        for key in path:
            node = node[key]
        node["surprise"] = 1
        assert validator.is_valid(changed) == (path[:1] == ("provenance",) or path[-1:] == ("facts",)), path
        del node["surprise"]
        for key in list(node) if path[:1] != ("provenance",) and path[-1:] != ("facts",) else ():
            value = node.pop(key)
            assert not validator.is_valid(changed), (*path, key)
            node[key] = value
        seen += 1
    assert seen > 12


def test_results_of_version_1_stay_readable_and_valid() -> None:
    document = json.loads(json.dumps(made().to_json()))
    document["version"] = 1
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert not validator.is_valid(document), "version 1 knew no facts"
    for finding in document["findings"]:
        del finding["facts"]
    validator.validate(document)
    (finding,) = Classification.from_json(document).findings
    assert finding == Finding("QUALITY_TILT", "warn", "tilted by 18.5°")
    assert finding.text("zh") == "tilted by 18.5°", "what an old document does not say is told in English"


@pytest.mark.parametrize("change", [{"version": 3}, {"format": "other"}, {"version": None}])
def test_another_format_or_version_is_not_read(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="version 1"):
        Classification.from_json({**made().to_json(), **change})


def test_the_example_in_the_documentation_finds_the_evidence_in_the_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classification = made(rows=13)
    assert classification.evidence is not None
    classification.evidence.maps[12, 0] = -1
    classification.evidence.maps[12, 0, 1, 3] = 5
    (tmp_path / "results.json").write_text(json.dumps(classification.to_json()))
    monkeypatch.chdir(tmp_path)
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs/results.md").read_text("utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(example, names)
    placement = classification.evidence.placement
    expected = placement.origins_lps[12] + 3 * placement.column_step_lps + 1 * placement.row_step_lps
    np.testing.assert_allclose(names["lps"], expected, atol=1e-9)
    peak = classification.evidence.peak_lps(12, 0)
    assert peak is not None
    np.testing.assert_allclose(peak, expected, atol=1e-9)


def test_every_field_of_results_json_is_documented() -> None:
    text = (ROOT / "docs/results.md").read_text("utf-8")
    document = made().to_json()
    fields = {*document, *document["slices"][0], *document["bundle"], *document["evidence"], *document["findings"][0]}
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


def test_evidence_is_scaled_over_the_case_and_nothing_is_made_of_none() -> None:
    maps = np.zeros((2, 2, 1, 2), np.float32)
    maps[0, 0], maps[1, 0], maps[:, 1] = [[4, -8]], [[1, 0]], -3
    evidence = Evidence(maps, np.array([4.0, 0.0]), Placement(np.zeros((2, 3)), np.eye(3)[0], np.eye(3)[1]), "x")
    assert evidence.shown(0).tolist() == [[[1, 0]], [[0.25, 0]]]
    assert evidence.shown(1).tolist() == [[[0, 0]], [[0, 0]]]
    assert evidence.peak_lps(0, 1) is None


@pytest.mark.parametrize(
    ("normal", "centre", "words"),
    [
        ([0, 0, 1], [5, 6, 45.21], "S 45.2 mm"),
        ([0, 0, -1], [5, 6, 45.21], "S 45.2 mm"),
        ([0, 0, 1], [5, 6, -3], "I 3.0 mm"),
        ([0, 1, 0], [5, 6, 7], "P 6.0 mm"),
        ([0, -1, 0], [5, -6, 7], "A 6.0 mm"),
        ([1, 0, 0], [5, 6, 7], "L 5.0 mm"),
        ([-1, 0, 0], [-5, 6, 7], "R 5.0 mm"),
        ([0, 0.6, 0.8], [0, 10, 20], "S 22.0 mm"),
        ([0, 0, 1], [0, 0, -0.01], "S 0.0 mm"),
    ],
)
def test_positions_are_told_in_patient_directions(normal: list[float], centre: list[float], words: str) -> None:
    slices = made(rows=1).slices
    slices = replace(slices, normal_lps=np.array([normal], float), centre_lps=np.array([centre], float))
    assert slices.position_in_words(0) == words
    assert slices.name(0) == f"slice 2 (image 30), {words}"
    assert replace(slices, native_k=None, instance_numbers=()).name(0) == f"slice 0, {words}"


def test_a_refused_case_names_no_class() -> None:
    document = VARIANTS["refused"].to_json()
    assert document["answer"] == "no class: a localizer"
    assert document["slice_counts"] is None
    for row in document["slices"]:
        assert (row["label"], row["probability"], row["evidence_peak_lps"]) == (None, None, None)


def test_the_answer_says_uncalibrated_unless_it_is() -> None:
    classification = made()
    best = classification.labels[int(np.argmax(classification.counts()))].name
    assert sum(classification.counts()) == 4
    assert classification.in_words() == f"{best} in {max(classification.counts())} of 4 slices (uncalibrated)"
    assert "uncalibrated" not in replace(classification, calibrated=True).in_words()


@pytest.mark.parametrize("name", ["centre_lps", "normal_lps", "logits", "probabilities"])
def test_arrays_that_do_not_fit_together_are_no_classification(name: str) -> None:
    classification = made()
    broken = replace(classification.slices, **{name: getattr(classification.slices, name)[:, :2]})
    with pytest.raises(ValueError, match=name):
        replace(classification, slices=broken)
    assert classification.evidence is not None
    with pytest.raises(ValueError, match="evidence maps"):
        replace(classification, evidence=replace(classification.evidence, maps=classification.evidence.maps[:3]))
