"""What users install, not what stands in the checkout: the wheel is built, installed elsewhere and classifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = "body-region"


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, run without this session's import path."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
    # Built and installed from what is already here: a test downloads nothing.
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("wheel", ROOT, "--no-deps", "--no-build-isolation", "-q", "-w", folder)
    run(sys.executable, "-m", "pip", *build, cwd=folder)
    (built,) = folder.glob("medimgclassifier-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` folder of a new environment that holds this wheel.

    It borrows the libraries (torch is large) of the environment that runs the tests, through a path entry that comes
    after its own packages and does not follow an editable install back to the checkout.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=folder)
    (own / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return folder / "bin"


def _write_nrrd(path: Path) -> None:
    """Twelve axial slices with a bright ball, 2 x 2 x 5 mm, head first supine."""
    import numpy as np

    k, j, i = np.mgrid[0:12, 0:96, 0:96].astype(np.float32)
    ball = ((i - 48) / 38) ** 2 + ((j - 48) / 42) ** 2 + ((k - 6) / 9) ** 2 < 1
    voxels = (ball * (600 + 200 * np.sin(i / 5) * np.cos(j / 7))).astype("<i2")
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 96 96 12\n"
        "space directions: (2,0,0) (0,2,0) (0,0,5)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (-96,-96,-30)\n\n"
    )
    path.write_bytes(header.encode() + voxels.tobytes())


def test_wheel_carries_code_bundles_and_schemas_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"MedImgClassifierLib", "medimg_training"}
    schemas = {path.name for path in (ROOT / "MedImgClassifier" / "Resources" / "Schemas").iterdir()}
    assert schemas == {Path(n).name for n in names if n.startswith("MedImgClassifierLib/_resources/Schemas/")}
    assert f"MedImgClassifierLib/_resources/Models/{BUNDLE}/manifest.json" in names
    assert "MedImgClassifierLib/_resources/requirements.txt" in names  # `medimg kit` packs what it names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "MedImgClassifierLib/_resources/Translations/MedImgClassifier_zh-CN.ts" in names  # the viewer speaks Chinese
    page = {path.name for path in (ROOT / "MedImgClassifier/MedImgClassifierLib/viewer/page").iterdir()}
    assert page == {Path(n).name for n in names if n.startswith("MedImgClassifierLib/viewer/page/")}


def test_library_comes_from_the_environment(environment: Path, tmp_path: Path) -> None:
    ask = "import MedImgClassifierLib, medimg_training; print(MedImgClassifierLib.__file__, medimg_training.__file__)"
    for place in run(environment / "python", "-c", ask, cwd=tmp_path).split():
        assert Path(place).is_relative_to(environment.parent) and not Path(place).is_relative_to(ROOT)


def test_installed_command_classifies_from_anywhere(environment: Path, tmp_path: Path) -> None:
    _write_nrrd(tmp_path / "ball.nrrd")
    run(environment / "medimg", "classify", "ball.nrrd", "--bundle", BUNDLE, "--out", "results", cwd=tmp_path)
    results = json.loads((tmp_path / "results" / "results.json").read_text(encoding="utf-8"))
    assert len(results["slices"]) == 12
    assert results["bundle"]["id"] == BUNDLE
    assert (tmp_path / "results" / "overlay.png").stat().st_size > 10_000
