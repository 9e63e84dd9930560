"""A real MR volume without a download: nibabel carries one among its own test files.

`example4d.nii.gz` is an axial brain series of 24 slices at two time points; the first is written as a volume of
its own, because one classification is about one volume. Prints the path of the file written.
"""

from __future__ import annotations

import sys
from pathlib import Path


def write_sample(folder: Path) -> Path:
    """Write `brain-mr.nii.gz` (24 slices of 96x128 at 2 x 2 x 2.2 mm) into `folder`, made if need be."""
    import nibabel

    source = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    series = nibabel.load(source)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "brain-mr.nii.gz"
    nibabel.save(series.slicer[..., 0], target)
    return target


if __name__ == "__main__":
    print(write_sample(Path(sys.argv[1])))
