"""The cache: every sample after the geometry operations, as one memory-mapped array that training reads.

Augmentation and the intensity operations come after it, so the very code that prepares an input for
inference prepares the input of training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import InputSpec, check_colour, geometry, in_plane, intensity
from MedImgClassifierLib.engine.volume import Source, Volume

from .datasets.manifest import Manifest, Row
from .datasets.series_file import files_of, read_source
from .durable import write_durably

Images = NDArray[np.float32]
Indices = NDArray[np.int64]
FORMAT = 2


@dataclass(frozen=True)
class PreparedSet:
    """Images after geometry, and what is known of each of the n images.

    images   float32 [n, C, H, W], memory-mapped, in the units of the source
    labels   [n] index into classes, -1 where unlabelled
    samples  [n] sample of the manifest;  slices [n] slice of that sample;  groups [n] its group
    units    [n] 'HU', 'arbitrary', ...;  modalities [n] the manifest's column `modality`, else the file's, '' unknown
    """

    images: Images
    labels: Indices
    classes: tuple[str, ...]
    samples: tuple[str, ...]
    slices: tuple[int, ...]
    groups: tuple[str, ...]
    units: tuple[str, ...]
    modalities: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def of_groups(self, groups: Collection[str], *, labelled: bool = True) -> Indices:
        """Indices of the images of some groups, by default only of those with a label."""
        wanted = set(groups)
        kept = [n for n, group in enumerate(self.groups) if group in wanted and not (labelled and self.labels[n] < 0)]
        return np.array(kept, np.int64)

    def inputs(self, rows: Indices, spec: InputSpec, images: Images | None = None) -> Images:
        """[len(rows), C, H, W] what the network sees: the intensity operations on the images of some rows,
        or on `images`, which stand for them (augmented)."""
        if images is None:
            images = np.asarray(self.images[rows], np.float32)
        units = [self.units[n] for n in rows]
        if len(set(units)) == 1:
            return intensity(images, spec, units[0])
        out = np.empty_like(images)
        for unit in dict.fromkeys(units):
            chosen = [n for n, own in enumerate(units) if own == unit]
            out[chosen] = intensity(images[chosen], spec, unit)
        return out

    def fingerprint(self, rows: Indices) -> str:
        """SHA-256 of everything that fitting sees of some rows: pixels, labels, classes, units."""
        digest = hashlib.sha256(json.dumps([self.classes, self.images.shape[1:], rows.tolist()]).encode())
        for n in rows:
            digest.update(f"{self.labels[n]} {self.units[n]}".encode())
            digest.update(np.ascontiguousarray(self.images[n]).data)
        return digest.hexdigest()


def prepare(
    manifest: Manifest, rows: Sequence[Row], spec: InputSpec, folder: Path, *, progress: bool = False
) -> PreparedSet:
    """Read the rows' files, apply the geometry operations and keep the result in `folder`.

    A folder that already holds the result of the same rows, files and geometry is used as it is.
    Raises Refusal DATA_MANIFEST for slices a volume does not have or images that differ in size, and what
    reading an image raises; nothing is left in the folder then.
    """
    key = _key(manifest, rows, spec)
    if (folder / "cache.json").exists():
        about = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        if about["key"] == key and (folder / "images.f32").stat().st_size == 4 * int(np.prod(about["shape"])):
            return _opened(folder, about)
        shutil.rmtree(folder)  # of other rows, files or operations
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        about = {"key": key, "format": FORMAT, **_write(manifest, rows, spec, folder / "images.f32", progress)}
        write_durably(folder / "cache.json", json.dumps(about).encode())
    except BaseException:
        shutil.rmtree(folder) if fresh else (folder / "images.f32").unlink(missing_ok=True)
        raise
    return _opened(folder, about)


def in_plane_of_rows(spec: InputSpec, rows: Sequence[Row], path: Path) -> InputSpec:
    """The specification with the plane in which rows are cut, so that inference cuts alike.

    Rows that name no plane are cut in the specification's. Where they are cut in several, it stays 'native'. Raises
    Refusal DATA_MANIFEST where rows and specification contradict each other, or where a range of slices without a plane
    would be counted in another than the stored one.
    """
    planes = sorted({row.plane or spec.plane for row in rows})
    reason = ""
    if spec.plane != "native" and planes != [spec.plane]:
        reason = f"rows are cut in {', '.join(planes)}, the input specification says {spec.plane}"
    ranged = [row.sample for row in rows if not row.plane and (row.slice_from or row.slice_to is not None)]
    if spec.plane != "native" and ranged:
        reason = f"sample '{ranged[0]}' has a range of slices and no plane, and slices are cut in {spec.plane}"
    if reason:
        raise Refusal("DATA_MANIFEST", path=path, where="plane", reason=reason)
    return replace(spec, plane=planes[0]) if len(planes) == 1 else spec


def sorted_slices(volume: Volume) -> Volume:
    """The volume with its slices sorted along the normal, towards left, posterior or superior (LPS),
    whichever the normal is nearest to: what slice_from and slice_to of a manifest count."""
    normal = volume.normal_lps
    towards = np.sign(normal[np.abs(normal).argmax()])
    order = np.argsort(volume.positions_mm * towards, kind="stable")
    if (order == np.arange(len(order))).all():
        return volume
    origins = volume.slice_origins_lps[order]
    return replace(volume, voxels=volume.voxels[order], slice_origins_lps=origins, source=Source())


def _write(manifest: Manifest, rows: Sequence[Row], spec: InputSpec, path: Path, progress: bool) -> dict[str, Any]:
    """Stream the images into a file of raw float32; what is known of them is returned."""
    known: dict[str, list[Any]] = {
        "labels": [],
        "samples": [],
        "slices": [],
        "groups": [],
        "units": [],
        "modalities": [],
    }
    shape: tuple[int, ...] = ()
    channel = spec.channels[0]
    with path.open("wb") as file:
        for row, volume in tqdm(_volumes(rows, spec), "prepare", len(rows), disable=not progress, unit="sample"):
            modality = row.covariates.get("modality") or volume.modality
            for allowed, found in ((channel.units, volume.units), (channel.modality, modality)):
                if allowed and found and found not in allowed:
                    reason = (
                        f"sample '{row.sample}' is {found}, the input specification asks for {' or '.join(allowed)}"
                    )
                    raise Refusal("DATA_MANIFEST", path=manifest.path, where="path", reason=reason)
            first, stop = row.slice_from, len(volume.voxels) if row.slice_to is None else row.slice_to
            if not first < stop <= len(volume.voxels):
                reason = f"sample '{row.sample}' has {len(volume.voxels)} slices, not {first}..{stop}"
                raise Refusal("DATA_MANIFEST", path=manifest.path, where="slice_from, slice_to", reason=reason)
            done = geometry([volume], spec, first, stop)
            shape = shape or done.images.shape[1:]
            if done.images.shape[1:] != shape:
                reason = f"sample '{row.sample}' is {done.images.shape[1:]} after geometry, others are {shape}"
                raise Refusal("DATA_MANIFEST", path=manifest.path, where="path", reason=reason)
            file.write(np.ascontiguousarray(done.images, "<f4").data)
            label = manifest.classes.index(row.label) if row.label else -1
            for name, value in (("labels", label), ("samples", row.sample), ("groups", row.group)):
                known[name] += [value] * (stop - first)
            known["units"] += [done.units] * (stop - first)
            known["modalities"] += [modality] * (stop - first)
            known["slices"] += range(first, stop)
    return {**known, "classes": manifest.classes, "shape": (len(known["labels"]), *shape)}


def _volumes(rows: Sequence[Row], spec: InputSpec) -> Iterator[tuple[Row, Volume]]:
    """Each row and its sorted volume in the row's plane; rows of one file that follow each other read it once."""
    path, volume = None, None
    for row in rows:
        if row.path != path or volume is None:
            path, volume = row.path, read_source(row.path)
            check_colour(volume, spec.channels[0], row.path)
        yield row, sorted_slices(in_plane(volume, row.plane or spec.plane))


def _key(manifest: Manifest, rows: Sequence[Row], spec: InputSpec) -> str:
    """Changes with the rows, their files (size and time) and the geometry, not with the intensity operations."""
    files = [
        (str(r.path), r.sample, r.group, r.label, r.plane, r.slice_from, r.slice_to, r.covariates.get("modality"))
        for r in rows
    ]
    states = [sorted((f.stat().st_size, f.stat().st_mtime_ns) for f in files_of(r.path)) for r in rows]
    wanted = spec.to_json()
    content = [FORMAT, manifest.classes, files, states, wanted["geometry"], wanted["plane"], spec.network_channels]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _opened(folder: Path, about: dict[str, Any]) -> PreparedSet:
    return PreparedSet(
        images=np.memmap(folder / "images.f32", "<f4", "r", shape=tuple(about["shape"])),
        labels=np.array(about["labels"], np.int64),
        classes=tuple(about["classes"]),
        samples=tuple(about["samples"]),
        slices=tuple(about["slices"]),
        groups=tuple(about["groups"]),
        units=tuple(about["units"]),
        modalities=tuple(about["modalities"]),
    )
