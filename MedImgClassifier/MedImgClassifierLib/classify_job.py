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
from typing import Any

from tqdm import tqdm

from .engine.card import read_card
from .engine.errors import Refusal
from .engine.html_report import html_page
from .engine.picture import overlay_picture
from .engine.reading import read_volume
from .engine.report import table, write_csv, write_json
from .engine.result import Classification
from .engine.volume import Volume
from .worker.session import Session

SCENE = "scene.mrb"


def classify_to_folder(
    source: str | Path,
    bundle: Path,
    out: Path,
    series: str | None = None,
    language: str = "en",
    **how: Any,
) -> Classification:
    """Classify a file or DICOM folder and write results.json, results.csv, report.html, overlay.png and, where
    slicer-core is installed, scene.mrb into `out`. Prints the table. Raises Refusal and leaves nothing behind then.

    language: of the table and of report.html, 'en' or 'zh'; the other files are in English.
    how: device, precision, runtime, batch, threads and evidence, as Session.classify takes them.
    """
    if os.path.exists(out) and not out.is_dir():  # unlike Path.exists, False for a name that is too long
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason="it is a file")
    with tqdm(
        total=100, desc="read", leave=False, disable=None, bar_format="{desc:10s} {bar} {percentage:3.0f}%"
    ) as bar:

        def progress(stage: str, fraction: float) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.n = round(100 * fraction)
            bar.refresh()

        volume = read_volume(source, series)
        result = Session().classify(volume, bundle, progress=progress, **how)
    print(table(result, language), flush=True)  # the answer first: the picture and the scene take their time
    page = html_page(result, volume, language, card=read_card(bundle, language))
    for path in _write(out, volume, result, page):
        print(f"wrote {path}")
    if not _scene_is_installed():
        print("no scene.mrb: slicer-core is not installed (pip install 'medimgclassifier[scene]')")
    return result


def _write(out: Path, volume: Volume, result: Classification, page: str) -> list[Path]:
    try:
        place = next(folder for folder in out.absolute().parents if folder.is_dir())
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=place))
    except OSError as failed:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=failed.strerror) from None
    try:
        write_json(result, staging / "results.json")
        write_csv(result, staging / "results.csv")
        (staging / "report.html").write_text(page, encoding="utf-8")
        overlay_picture(result, volume, staging / "overlay.png")
        if _scene_is_installed():
            from .scene.saving import writeResultScene

            writeResultScene(staging / SCENE, volume, result)
        return _moved_into_place(staging, out)
    except OSError as failed:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=failed.strerror or failed) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _moved_into_place(staging: Path, out: Path) -> list[Path]:
    """Move the made files into `out`; what an earlier run left there and this one did not make goes, so that all files
    belong together. If one cannot be moved (open in another program, say), everything is taken back."""
    earlier, touched = staging / "earlier", []
    made = {file.name: file for file in sorted(staging.iterdir())}
    new_folders = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        earlier.mkdir()
        out.mkdir(parents=True, exist_ok=True)
        for name in sorted({*made, SCENE}):
            target = out / name
            if target.is_dir():
                raise OSError(f"{name} there is a folder")
            if target.exists():
                target.replace(earlier / name)
            touched.append(target)
            if name in made:
                made[name].replace(target)
    except BaseException:
        for target in touched:
            target.unlink(missing_ok=True)
            if (earlier / target.name).exists():
                (earlier / target.name).replace(target)
        for folder in new_folders:
            if folder.is_dir():
                folder.rmdir()
        raise
    return [out / name for name in made]


def _scene_is_installed() -> bool:
    return importlib.util.find_spec("slicer") is not None
