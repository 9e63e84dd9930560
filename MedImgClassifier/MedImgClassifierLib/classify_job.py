"""One classification from a path to a folder of results: what `medimg classify` does.

Everything is written into a staging folder first and moved in place at the end, so that a refusal, a cancel or a
full disk leaves the output folder as it was.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from tqdm import tqdm

from .engine.errors import Refusal
from .engine.picture import overlay_picture
from .engine.reading import read_volume
from .engine.report import table, write_csv, write_json
from .engine.result import Classification
from .engine.runtimes import Device, Precision
from .engine.volume import Volume
from .worker.client import Client


def classify_to_folder(
    source: str | Path,
    bundle: Path,
    out: Path,
    *,
    series: str | None = None,
    device: Device = "auto",
    precision: Precision = "float32",
    batch: int = 16,
) -> Classification:
    """Classify a file or DICOM folder and write results.json, results.csv, overlay.png and, where slicer-core is
    installed, scene.mrb into `out`. Prints the table. Raises Refusal and leaves nothing behind then.
    """
    if os.path.exists(out) and not out.is_dir():  # unlike Path.exists, False for a name that is too long
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason="it is a file")
    with tqdm(total=100, desc="read", leave=False, bar_format="{desc:10s} {bar} {percentage:3.0f}%") as bar:

        def progress(stage: str, fraction: float) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.n = round(100 * fraction)
            bar.refresh()

        volume = read_volume(source, series)
        result = Client().classify(volume, bundle, device=device, precision=precision, batch=batch, progress=progress)
        progress("write", 0.0)
        written = _write(out, volume, result)
    print(table(result))
    for path in written:
        print(f"wrote {path}")
    if not _scene_is_installed():
        print("no scene.mrb: slicer-core is not installed (pip install 'medimgclassifier[scene]')")
    return result


def _write(out: Path, volume: Volume, result: Classification) -> list[Path]:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as failed:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=failed.strerror) from None
    try:
        write_json(result, staging / "results.json")
        write_csv(result, staging / "results.csv")
        overlay_picture(result, volume, staging / "overlay.png")
        if _scene_is_installed():
            from .scene.saving import writeResultScene

            writeResultScene(staging / "scene.mrb", volume, result)
        return _moved_into_place(staging, out)
    except OSError as failed:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=failed.strerror or failed) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _moved_into_place(staging: Path, out: Path) -> list[Path]:
    """Move the made files into `out`. If one cannot be moved (open in another program, say), all are taken back."""
    made, earlier, new_folder = sorted(staging.iterdir()), staging / "earlier", not out.exists()
    earlier.mkdir()
    out.mkdir(exist_ok=True)
    touched: list[Path] = []
    try:
        for file in made:
            target = out / file.name
            if target.is_dir():
                raise OSError(f"{file.name} there is a folder")
            if target.exists():
                target.replace(earlier / file.name)
            touched.append(target)
            file.replace(target)
    except BaseException:
        for target in touched:
            target.unlink(missing_ok=True)
            if (earlier / target.name).exists():
                (earlier / target.name).replace(target)
        if new_folder:
            out.rmdir()
        raise
    return touched


def _scene_is_installed() -> bool:
    return importlib.util.find_spec("slicer") is not None
