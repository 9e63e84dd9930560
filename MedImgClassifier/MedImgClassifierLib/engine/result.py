"""Classification: what the engine answers, and `results.json`, its documented form (docs/results.md).

Rows are classified slices, N of them; L is the number of labels. Positions are LPS millimetres.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .findings import Finding as Finding

Floats = NDArray[np.float64]
Maps = NDArray[np.float32]

FORMAT = "medimgclassifier-results"
VERSION = 2
READABLE = (1, VERSION)
"""Versions of results.json that `Classification.from_json` takes. In version 1 findings have no facts."""
NOTICE = "Research use only, not for diagnosis."
COORDINATES = "LPS, mm"

_DIRECTIONS = ("RL", "AP", "IS")  # names of the patient axes' negative and positive ends
_DIRECTIONS_ZH = {"R": "右", "L": "左", "A": "前", "P": "后", "I": "下", "S": "上"}
_WHY = {
    "most_probable": ("most probable", "最典型"),
    "example": ("example", "示例"),
    "least_certain": ("least certain", "最不确定"),
}


def notice(language: str = "en") -> str:
    """What is shown wherever an answer is. language, here and below: 'en' or 'zh'."""
    return "仅供研究使用，不用于诊断。" if language == "zh" else NOTICE


@dataclass(frozen=True)
class Code:
    """A coded concept, as in DICOM: scheme ('SCT', 'DCM', ...), value, meaning."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One class of a bundle. name: shown to people; code: for other systems, where there is one."""

    name: str
    code: Code | None = None


@dataclass(frozen=True)
class Placement:
    """Where the cells of evidence maps [N, ..., h, w] lie: centre of cell (row, column) of slice n is
    `origins_lps[n] + column * column_step_lps + row * row_step_lps`."""

    origins_lps: Floats  # [N, 3] centre of cell (0, 0)
    column_step_lps: Floats  # [3] to the next column
    row_step_lps: Floats  # [3] to the next row

    def cell_centre_lps(self, n: int, row: float, column: float) -> Floats:
        """[3] centre of a (possibly fractional) cell of slice n."""
        return np.asarray(self.origins_lps[n] + column * self.column_step_lps + row * self.row_step_lps)


@dataclass(frozen=True)
class Evidence:
    """Raw class maps on a coarse grid over the network's input, never upsampled here.

    maps   [N, L, h, w] float32; positive cells speak for the label, negative ones against it
    scale  [L] largest positive value of each label over the whole case, so that slices stay comparable;
           0 means that nothing in the case speaks for that label
    method how the maps were made: 'closed_form', 'head_gradient', 'last_block' or 'occlusion'
    """

    maps: Maps
    scale: Floats
    placement: Placement
    method: str

    def shown(self, label: int) -> Maps:
        """[N, h, w] in 0..1: positive evidence for one label, scaled over the case; all zero means none."""
        scale = float(self.scale[label])
        positive = np.maximum(self.maps[:, label], 0)
        return np.asarray(positive / scale if scale > 0 else np.zeros_like(positive), np.float32)

    def peak_lps(self, n: int, label: int) -> Floats | None:
        """[3] centre of the cell of slice n that speaks most for a label; None where no cell does."""
        plane = self.maps[n, label]
        row, column = np.unravel_index(int(plane.argmax()), plane.shape)
        return self.placement.cell_centre_lps(n, float(row), float(column)) if plane[row, column] > 0 else None


@dataclass(frozen=True)
class SliceResults:
    """One row per classified slice. native_k: index in the input volume, None where slices were resampled."""

    centre_lps: Floats  # [N, 3]
    normal_lps: Floats  # [N, 3]
    native_k: tuple[int, ...] | None
    logits: Floats  # [N, L]
    probabilities: Floats  # [N, L]
    instance_numbers: tuple[int, ...] = ()  # of the source slices, () where unknown
    sop_instance_uids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def best(self) -> NDArray[np.int64]:
        """[N] index of the most probable label."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def positions_mm(self) -> Floats:
        """[N] position of each slice along its own normal, as `Volume.positions_mm`."""
        return np.asarray((self.centre_lps * self.normal_lps).sum(axis=1))

    def position_in_words(self, n: int, language: str = "en") -> str:
        """Position as readers know it, e.g. 'S 45.2 mm': along the normal, named by the nearest patient axis."""
        axis = int(np.abs(self.normal_lps[n]).argmax())
        position = round(float(self.positions_mm[n] * np.sign(self.normal_lps[n, axis])), 1)
        letter = _DIRECTIONS[axis][position >= 0]
        if language == "zh":  # the letter stays: it is what stands at the edges of the views
            return f"{letter}（{_DIRECTIONS_ZH[letter]}）{abs(position):.1f} mm"
        return f"{letter} {abs(position):.1f} mm"

    def name(self, n: int, language: str = "en") -> str:
        """'slice 12 (image 34), S 45.2 mm': k from 0, or the row where slices were resampled; InstanceNumber."""
        k, position = self.native_k[n] if self.native_k else n, self.position_in_words(n, language)
        if language == "zh":
            image = f"（图像 {self.instance_numbers[n]}）" if self.instance_numbers else ""
            return f"切片 {k}{image}，{position}"
        image = f" (image {self.instance_numbers[n]})" if self.instance_numbers else ""
        return f"slice {k}{image}, {position}"


@dataclass(frozen=True)
class KeySlice:
    """A slice worth looking at, with the label to look at it for.

    row counts in `Classification.slices`; why: 'most_probable' of its label, a further
    'example' of the commonest label, or 'least_certain' of the case.
    """

    row: int
    label: int
    why: Literal["most_probable", "example", "least_certain"]

    def why_in_words(self, language: str = "en") -> str:
        """Why it is worth looking at, e.g. 'most probable'."""
        return _WHY[self.why][language == "zh"]


@dataclass(frozen=True)
class Classification:
    """The answer for one case. There is no volume-level probability unless a bundle declares how to make one."""

    labels: tuple[Label, ...]
    slices: SliceResults
    evidence: Evidence | None
    findings: tuple[Finding, ...]
    key_slices: tuple[KeySlice, ...]
    calibrated: bool
    bundle: Mapping[str, str]  # id, version, title, intended_use, licence, manifest_sha256
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, labels = len(self.slices), len(self.labels)
        for name, array, shape in (
            ("centre_lps", self.slices.centre_lps, (rows, 3)),
            ("normal_lps", self.slices.normal_lps, (rows, 3)),
            ("logits", self.slices.logits, (rows, labels)),
            ("probabilities", self.slices.probabilities, (rows, labels)),
        ):
            if array.shape != shape:
                raise ValueError(f"{name} must be {list(shape)}, not {list(array.shape)}")
        if self.evidence is not None and self.evidence.maps.shape[:2] != (rows, labels):
            raise ValueError(f"evidence maps must be [{rows}, {labels}, h, w], not {list(self.evidence.maps.shape)}")

    def counts(self) -> list[int]:
        """[L] number of slices whose most probable label each is."""
        return [int(n) for n in np.bincount(self.slices.best, minlength=len(self.labels))]

    @property
    def commonest(self) -> int:
        """Index of the label that leads in most slices."""
        return int(np.argmax(self.counts()))

    def median_probability(self, label: int) -> float:
        """Of a label, over the slices where it leads; 0 where it leads in none."""
        leads = self.slices.best == label
        return float(np.median(self.slices.probabilities[leads, label])) if leads.any() else 0.0

    @property
    def refused(self) -> bool:
        """True where a finding says that no class may be shown."""
        return any(finding.severity == "refuse" for finding in self.findings)

    def in_words(self, language: str = "en") -> str:
        """The answer in a sentence, e.g. 'HeadCT in 26 of 28 slices (uncalibrated)'."""
        chinese = language == "zh"
        if self.refused:
            reasons = [finding.text(language) for finding in self.findings if finding.severity == "refuse"]
            return "不给出类别：" + "；".join(reasons) if chinese else "no class: " + "; ".join(reasons)
        counts, best = self.counts(), self.commonest
        label, count, total = self.labels[best].name, counts[best], len(self.slices)
        if chinese:
            return f"{label}：{total} 个切片中的 {count} 个{'' if self.calibrated else '（未校准）'}"
        return f"{label} in {count} of {total} slices{'' if self.calibrated else ' (uncalibrated)'}"

    def to_json(self) -> dict[str, Any]:
        """The content of results.json, version 2, in English (docs/results.md, schema `results.schema.json`).

        A refused case keeps its numbers for whoever looks into it, but names no class.
        """
        best = self.slices.best
        positions = self.slices.positions_mm
        named = not self.refused
        rows = []
        for n in range(len(self.slices)):
            peak = self.evidence.peak_lps(n, int(best[n])) if self.evidence and named else None
            rows.append(
                {
                    "k": self.slices.native_k[n] if self.slices.native_k else None,
                    "instance_number": _at(self.slices.instance_numbers, n),
                    "sop_instance_uid": _at(self.slices.sop_instance_uids, n),
                    "position_mm": float(positions[n]),
                    "centre_lps": _numbers(self.slices.centre_lps[n]),
                    "normal_lps": _numbers(self.slices.normal_lps[n]),
                    "label": self.labels[best[n]].name if named else None,
                    "probability": float(self.slices.probabilities[n, best[n]]) if named else None,
                    "probabilities": _numbers(self.slices.probabilities[n]),
                    "logits": _numbers(self.slices.logits[n]),
                    "evidence_peak_lps": None if peak is None else _numbers(peak),
                }
            )
        return {
            "format": FORMAT,
            "version": VERSION,
            "notice": NOTICE,
            "answer": self.in_words(),
            "calibrated": self.calibrated,
            "coordinates": COORDINATES,
            "bundle": dict(self.bundle),
            "labels": [asdict(label) for label in self.labels],
            "slice_counts": self.counts() if named else None,
            "findings": [asdict(finding) for finding in self.findings],
            "key_slices": [asdict(key) for key in self.key_slices],
            "slices": rows,
            "evidence": None if self.evidence is None else _evidence_to_json(self.evidence),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Classification:
        """The inverse of `to_json`, for version 1 too. Raises ValueError for another format or version."""
        if document.get("format") != FORMAT or document.get("version") not in READABLE:
            raise ValueError(f"not {FORMAT} version {' or '.join(map(str, READABLE))}")
        rows: Sequence[Mapping[str, Any]] = document["slices"]
        known_k = all(row["k"] is not None for row in rows)
        numbers = tuple(row["instance_number"] for row in rows)
        uids = tuple(row["sop_instance_uid"] for row in rows)
        return cls(
            labels=tuple(Label(x["name"], Code(**x["code"]) if x["code"] else None) for x in document["labels"]),
            slices=SliceResults(
                centre_lps=np.array([row["centre_lps"] for row in rows]),
                normal_lps=np.array([row["normal_lps"] for row in rows]),
                native_k=tuple(row["k"] for row in rows) if known_k else None,
                logits=np.array([row["logits"] for row in rows]),
                probabilities=np.array([row["probabilities"] for row in rows]),
                instance_numbers=() if None in numbers else numbers,
                sop_instance_uids=() if None in uids else uids,
            ),
            evidence=None if document["evidence"] is None else _evidence_from_json(document["evidence"]),
            findings=tuple(Finding(**finding) for finding in document["findings"]),
            key_slices=tuple(KeySlice(**key) for key in document["key_slices"]),
            calibrated=document["calibrated"],
            bundle=document["bundle"],
            provenance=document["provenance"],
        )


def _at(values: Sequence[Any], n: int) -> Any:
    return values[n] if values else None


def _numbers(values: NDArray[Any]) -> list[float]:
    return [float(v) for v in values]


def _evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    return {
        "method": evidence.method,
        "shape": list(evidence.maps.shape),
        "axes": ["slice", "label", "row", "column"],
        "dtype": "<f4",
        "base64": base64.b64encode(np.ascontiguousarray(evidence.maps, "<f4").tobytes()).decode(),
        "scale": _numbers(evidence.scale),
        "origins_lps": [_numbers(origin) for origin in evidence.placement.origins_lps],
        "column_step_lps": _numbers(evidence.placement.column_step_lps),
        "row_step_lps": _numbers(evidence.placement.row_step_lps),
    }


def _evidence_from_json(document: Mapping[str, Any]) -> Evidence:
    maps = np.frombuffer(base64.b64decode(document["base64"]), "<f4").reshape(document["shape"])
    return Evidence(
        maps=maps.astype(np.float32),
        scale=np.array(document["scale"]),
        placement=Placement(
            origins_lps=np.array(document["origins_lps"]),
            column_step_lps=np.array(document["column_step_lps"]),
            row_step_lps=np.array(document["row_step_lps"]),
        ),
        method=document["method"],
    )
