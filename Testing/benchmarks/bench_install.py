"""What the plain install takes on the disk, and what it adds to Slicer's own Python. Takes a minute and a download.

python Testing/benchmarks/bench_install.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What Slicer 5.12 brings in its Python, of what we need.
SLICER_HAS = {
    *("numpy", "scipy", "simpleitk", "pydicom", "pillow", "packaging", "pyparsing", "python-dateutil"),
    *("typing-extensions", "six", "setuptools", "wheel", "pip"),
}
TOOLS = {"pip", "setuptools", "wheel"}


def megabytes(found: Distribution) -> float:
    """Of the files that a distribution lists, without what Python compiles of them."""
    files = [path for path in found.files or () if path.suffix != ".pyc"]
    return sum(Path(str(path.locate())).stat().st_size for path in files if Path(str(path.locate())).is_file()) / 1e6


def name(found: Distribution) -> str:
    return re.sub("[-_.]+", "-", found.metadata["Name"]).lower()


def installed(*wanted: str) -> dict[str, float]:
    """Megabytes of each distribution of a fresh environment, without pip."""
    with tempfile.TemporaryDirectory(prefix="medimg-install-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "Scripts" if sys.platform == "win32" else "bin", "python")
        pip = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
        subprocess.run([*pip, *wanted], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        (library,) = {str(path.parent) for path in Path(folder).rglob("numpy") if path.parent.name == "site-packages"}
        return {name(d): megabytes(d) for d in distributions(path=[library]) if name(d) not in TOOLS}


def show(title: str, sizes: dict[str, float]) -> None:
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:6]
    print(f"{title}: {sum(sizes.values()):.0f} MB ({', '.join(f'{key} {size:.0f}' for key, size in largest)})")


if __name__ == "__main__":
    show("plain install (goal under 400 MB)", installed("."))
    inside = installed("-r", "MedImgClassifier/Resources/requirements.txt")
    show("added to Slicer's Python (goal under 120 MB)", {key: s for key, s in inside.items() if key not in SLICER_HAS})
