"""Say which system library is missing, instead of a traceback in the middle of the first classification.

python Testing/check_libraries.py torch vtk PySide6.QtWidgets
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence

# Debian's and Ubuntu's package of the libraries that minimal installations leave out.
PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libxkbcommon.so.0": "libxkbcommon0",
}


def missing_library(module: str) -> str | None:
    """Name of the shared library for want of which `module` does not load; None when it loads."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        found = re.search(r"(\S+\.so[.\d]*): cannot open shared object", str(error))
        if found is None:
            raise
        return found.group(1)
    return None


def main(modules: Sequence[str]) -> int:
    missing = {module: library for module in modules if (library := missing_library(module))}
    for module, library in missing.items():
        hint = f" (Debian, Ubuntu: apt-get install {PACKAGES[library]})" if library in PACKAGES else ""
        print(f"{module} needs the system library {library}, which is not installed{hint}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
