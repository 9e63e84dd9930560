"""The one door for images: a DICOM folder or file, NIfTI, NRRD, MetaImage, PNG or JPEG -> Volume.

What reading had to decide is left in `Source.notes` as 'CODE: detail', for the quality gate to turn into findings:

    DUPLICATE_INSTANCE    copies of a slice (same SOPInstanceUID, same voxels) were left out
    NO_POSITION           a single image that does not say where it lies in the patient
    PIXEL_SPACING         of such an image: measured at the detector, or assumed to be 1 mm
    ORIENTATION_UNKNOWN   NIfTI or NRRD without patient axes
    CT_WITHOUT_RESCALE    CT without rescale tags: units 'arbitrary'
    CT_NOT_HU             CT whose rescale type is not HU: units 'arbitrary'
    MONOCHROME1           CT stored for inverted display: values kept
    MONOCHROME1_INVERTED  other modalities stored so: values inverted once
    LOSSY_COMPRESSION     lossy compression, stated by the header or the transfer syntax
    LOCALISER             images marked as localisers
    UNREADABLE_FILES      files beside a series chosen by UID, so damaged that they may be slices of it

Voxels come as int16 where their values are integers that fit, else as float32; those of a PNG or JPEG in colour as
uint8, with units 'RGB'. Formats that state no modality give modality '' and, of grey images, units 'arbitrary'. Nothing
that names a patient is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_headers import is_dicom
from .dicom_series import SeriesSummary, list_series, read_dicom_file, read_dicom_files, read_dicom_folder
from .errors import Refusal
from .metaimage import read_metaimage
from .nifti import read_nifti
from .nrrd import read_nrrd
from .volume import Source, Volume
from .voxel_values import kept_voxels, stacked_volume

__all__ = ["SeriesSummary", "list_series", "read_series_files", "read_volume"]

_SPACING_MM = (1e-3, 1e3)  # from microscopy to far beyond a gap between slices
_FARTHEST_MM = 1e5
_LARGEST_PICTURE = 1 << 28  # pixels; more is a decompression bomb


def read_volume(path: str | Path, series: str | None = None) -> Volume:
    """The image at `path` as one Volume, coordinates LPS.

    path: a folder (searched for DICOM files, also below; others are passed over) or a file.
    series: SeriesInstanceUID to choose from a folder with several series.

    Raises Refusal with an INPUT_ code for whatever is missing, not an image, incomplete, not one channel (or PNG or
    JPEG in colour) of three or two dimensions, without usable or plausible geometry, or not finite.
    """
    place = Path(path)
    with _failures_refused(place):
        if not place.exists():
            raise Refusal("INPUT_NOT_FOUND", path=path)
        volume = read_dicom_folder(place, series) if place.is_dir() else _read_file(place, series)
    _check_plausible(volume, place)
    return volume


def read_series_files(files: Sequence[Path], series: str) -> Volume:
    """The DICOM series whose images are exactly these files (one at least), as one Volume, coordinates LPS.

    series: their SeriesInstanceUID. Raises Refusal as `read_volume` does.
    """
    with _failures_refused(files[0]):
        missing = next((file for file in files if not file.exists()), None)
        if missing is not None:
            raise Refusal("INPUT_NOT_FOUND", path=missing)
        volume = read_dicom_files(files, series)
    _check_plausible(volume, files[0])
    return volume


@contextmanager
def _failures_refused(path: Path) -> Iterator[None]:
    """What the system raises while a file is read becomes a refusal."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=reason) from error
    except MemoryError as error:
        raise Refusal("RESOURCE_MEMORY", device="cpu", reason=f"reading '{path}'") from error


def _check_plausible(volume: Volume, path: Path) -> None:
    """Refuses sizes that no patient has: a wrong unit or a damaged header."""
    steps = np.linalg.norm(np.diff(volume.slice_origins_lps, axis=0), axis=1)
    thickness = () if len(steps) or volume.slice_thickness_mm is None else (volume.slice_thickness_mm,)
    spacings = np.array([*volume.spacing_mm, *steps, *thickness])
    absurd = spacings[(spacings < _SPACING_MM[0]) | (spacings > _SPACING_MM[1])]
    farthest = float(np.abs(volume.slice_origins_lps).max())
    if absurd.size:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"a spacing of {absurd[0]:.4g} mm is not plausible")
    if farthest > _FARTHEST_MM:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"an origin {farthest:.4g} mm away is not plausible")


def _read_file(path: Path, series: str | None) -> Volume:
    if not path.is_file() or path.stat().st_size == 0:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="empty or not a file")
    if is_dicom(path):
        return read_dicom_file(path, series)
    name = path.name.lower()
    reader = next((reader for ending, reader in _READERS.items() if name.endswith(ending)), None)
    if reader is None:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="neither DICOM nor a known file name ending")
    if series is not None:
        raise Refusal("INPUT_SERIES_UNKNOWN", path=path, series=series, listing="one image without a series")
    try:
        return reader(path)
    except (ValueError, OverflowError, KeyError, IndexError, struct.error) as error:
        # header fields that are missing or are not the numbers they should be
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"damaged header: {error}") from error


def _refuse_detached(path: Path) -> Volume:
    raise Refusal("INPUT_NOT_ALLOWED", path=path, reason="a detached NRRD header")


def _read_picture(path: Path) -> Volume:
    """PNG or JPEG as one slice of 1 mm pixels: row along +x (L), column along +y (P), at the origin."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            columns, rows = picture.size
            frames = getattr(picture, "n_frames", 1)
            if frames != 1 or rows * columns > _LARGEST_PICTURE:
                raise Refusal("INPUT_DIMENSIONS", path=path, shape=f"{frames} x {rows} x {columns}")
            if picture.mode in ("P", "PA", "1"):
                picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")  # type: ignore[assignment]
            if picture.mode == "CMYK":  # four channels as well, but none of them is one of RGBA
                raise Refusal("INPUT_DIMENSIONS", path=path, shape=f"{rows} x {columns} x 4")
            pixels = np.asarray(picture)
    except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="no readable PNG or JPEG") from error
    planes = _without_alpha(pixels, path)
    return stacked_volume(
        kept_voxels(planes[None], path) if planes.ndim == 2 else planes[None],
        [np.array([1.0, 0, 0]), np.array([0, 1.0, 0])],
        np.zeros(3),
        path,
        units="arbitrary" if planes.ndim == 2 else "RGB",
        source=Source(path=path.name, format=path.suffix[1:].upper().replace("JPG", "JPEG")),
    )


def _without_alpha(pixels: NDArray[np.integer[Any]], path: Path) -> NDArray[np.integer[Any]]:
    """[J, I] of grey pixels, also where grey is stored as RGB(A); [J, I, 3] of colour.

    Raises INPUT_DIMENSIONS where a pixel can be seen through."""
    if pixels.ndim == 2:
        return pixels
    channels = pixels.shape[2]
    colours, alpha = (pixels[..., :-1], pixels[..., -1]) if channels in (2, 4) else (pixels, None)
    opaque = alpha is None or int(alpha.min()) == np.iinfo(alpha.dtype).max
    if channels > 4 or not opaque:
        raise Refusal("INPUT_DIMENSIONS", path=path, shape=" x ".join(str(n) for n in pixels.shape))
    return colours if bool((colours != colours[..., :1]).any()) else colours[..., 0]


_READERS: dict[str, Callable[[Path], Volume]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": _refuse_detached,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".jpeg": _read_picture,
}
