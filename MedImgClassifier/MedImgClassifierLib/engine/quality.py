"""The gate: what speaks against classifying a case, before a network sees it.

What cannot be classified is refused; what can, but should be known, becomes a finding of the result.
"""

from __future__ import annotations

import numpy as np

from .errors import Refusal
from .findings import Finding
from .preprocess import InputSpec, check_colour
from .volume import Case, Volume


def check(case: Case, spec: InputSpec, bundle_id: str) -> list[Finding]:
    """Findings of severity 'warn' or 'info' on a case.

    Raises Refusal: INPUT_MODALITY (another modality or unit than the bundle asks for, or a channel is missing),
    INPUT_DIMENSIONS and INPUT_GREY (colour where grey is asked for, and the reverse), INPUT_GEOMETRY (channels on
    different grids), INPUT_VALUES (not finite, or no contrast anywhere).
    """
    findings: list[Finding] = []
    for channel in spec.channels:
        volume = case.channels.get(channel.name)
        if volume is None:
            raise Refusal("INPUT_MODALITY", bundle=bundle_id, expected=f"channel '{channel.name}'", found="missing")
        check_colour(volume, channel, volume.source.path or "input")
        for allowed, found in ((channel.modality, volume.modality), (channel.units, volume.units)):
            if allowed and found and found not in allowed:
                raise Refusal("INPUT_MODALITY", bundle=bundle_id, expected=" or ".join(allowed), found=found)
        _check_same_grid(case.reference_volume, volume, channel.name)
        findings += _findings(volume)
    return findings


def _findings(volume: Volume) -> list[Finding]:
    path = volume.source.path or "input"
    notes = (note.partition(": ") for note in volume.source.notes)
    findings = [Finding(code, "warn", detail, {"detail": detail}) for code, _, detail in notes]
    low, high = (extreme(volume.voxels, axis=(1, 2)) for extreme in (np.min, np.max))  # of each colour; NaN with a NaN
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise Refusal("INPUT_VALUES", path=path, reason="some are not finite")
    count = len(volume.voxels)
    empty = np.flatnonzero((low == high).reshape(count, -1).all(axis=1))
    if len(empty) == count:
        raise Refusal("INPUT_VALUES", path=path, reason="no slice has any contrast")
    if len(empty):
        counts = {"empty": len(empty), "count": count, "first": int(empty[0])}
        findings.append(Finding.of("EMPTY_SLICES", "warn", **counts))
    if volume.irregularity:
        findings.append(Finding.of("IRREGULAR_STACK", "warn", irregularity=volume.irregularity))
    if not volume.modality:
        findings.append(Finding.of("MODALITY_UNKNOWN", "warn"))
    elif volume.modality == "CT" and volume.units != "HU":
        findings.append(Finding.of("UNITS_UNKNOWN", "warn"))
    return findings


def _check_same_grid(reference: Volume, volume: Volume, channel: str) -> None:
    same = volume.voxels.shape[:3] == reference.voxels.shape[:3] and np.allclose(
        volume.slice_centres_lps, reference.slice_centres_lps, atol=0.1
    )
    if not same:
        raise Refusal("INPUT_GEOMETRY", path=channel, reason="its grid is not that of the reference channel")
