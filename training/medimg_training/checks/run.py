"""Every check on one manifest, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.bundle import load
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Orient, Pad, Plane, Resize

from ..cache import prepare
from ..datasets.manifest import Manifest
from ..split import Split
from . import (
    background_shortcut,
    contradictory_labels,
    header_shortcut,
    mixed_modalities,
    near_duplicates,
    reuse,
    same_group,
    site_confounding,
    volume_values,
)
from .headers import Header, read_headers
from .model import CheckInput, CheckResult, TrainedOn
from .report import Report
from .reuse import trained_on
from .waivers import Waiver, read_waivers

CHECKS: Mapping[str, Callable[[CheckInput], CheckResult]] = {
    module.CODE: module.check
    for module in (
        volume_values,
        same_group,
        near_duplicates,
        contradictory_labels,
        mixed_modalities,
        site_confounding,
        header_shortcut,
        background_shortcut,
        reuse,
    )
}


def gather(
    manifest: Manifest,
    cache: Path,
    split: Split | None = None,
    *,
    size: int = 64,
    plane: Plane = "native",
    backbone: TrainedOn | None = None,
    key: bytes | None = None,
    seed: int = 0,
    progress: bool = False,
) -> CheckInput:
    """Read the headers of the labelled samples, prepare those that can be read in the folder `cache`, as squares.

    Of colour and grey images together only the more frequent kind is looked at; the others get a problem.
    Raises Refusal DATA_MANIFEST where none can be read, and what `cache.prepare` raises.
    """
    labelled = [row for row in manifest.rows if row.label]
    headers = read_headers(labelled, plane, progress=progress)
    readable = [row for row in labelled if not headers[row.sample].problem]
    colour = 2 * sum(headers[row.sample].units == "RGB" for row in readable) > len(readable)
    for row in readable:
        if (headers[row.sample].units == "RGB") != colour:
            problem = "it is grey, most images are in colour" if colour else "it is in colour, most images are grey"
            headers[row.sample] = Header(problem=problem)
    readable = [row for row in readable if not headers[row.sample].problem]
    if not readable:
        problem = next((header.problem for header in headers.values()), "no sample has a label")
        raise Refusal("DATA_MANIFEST", path=manifest.path, where="every labelled sample", reason=problem)
    spec = _squares(size, plane, colour=colour)
    prepared = prepare(manifest, readable, spec, cache, progress=progress)
    return CheckInput(manifest, prepared, headers, split, backbone, key, seed=seed, progress=progress)


def _squares(size: int, plane: Plane, *, colour: bool) -> InputSpec:
    """Geometry is all that the checks use."""
    channel = ChannelSpec("image", units=("RGB",) if colour else ())
    return InputSpec((channel,), (Orient(), Pad(), Resize(size, size)), (), plane=plane)


def require_clean(
    manifest: Manifest,
    folder: Path,
    split: Split,
    *,
    plane: Plane = "native",
    pretrained: str = "random",
    progress: bool = False,
) -> Report:
    """Ask every check of a manifest before a training, and write the report into `folder`, where its waivers are.

    plane: in which slices are cut; pretrained: as of a Recipe, whose bundle is asked for groups that it was trained on.
    Raises Refusal DATA_CHECK where a check fires and is not waived, and what `gather` raises.
    """
    with TemporaryDirectory(prefix="medimg.checks.") as scratch:
        name = pretrained.removeprefix("bundle:")
        backbone = None if name == pretrained else trained_on(load(resources.bundles().get(name, Path(name))))
        data = gather(manifest, Path(scratch) / "cache", split, plane=plane, backbone=backbone, progress=progress)
        report = run_checks(data, read_waivers(folder))
        del data  # Windows removes no file that is mapped
    report.write(folder)
    report.require(folder)
    return report


def run_checks(data: CheckInput, waivers: Mapping[str, Waiver] | None = None) -> Report:
    """Ask every check. Nothing is written and nothing raised where one fires: see Report.write and Report.require."""
    bar = tqdm(CHECKS.items(), "checks", disable=not data.progress, unit="check")
    results = tuple(check(data) for _, check in bar)
    return Report(results, data.manifest.sha256, dict(waivers or {}))
