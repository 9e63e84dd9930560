"""`medimg kit`: what a Slicer without internet needs to classify, in one checked file. Needs the network itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from email import message_from_bytes
from pathlib import Path
from typing import Any

from . import __version__
from .engine.errors import Refusal
from .installation import kit_file, libraries, pip_errors

SLICER_BRINGS = {
    "numpy": "2.4.6",
    "scipy": "1.17.1",
    "simpleitk": "2.5.5",
    "pydicom": "3.0.2",
    "pillow": "12.2.0",
    "packaging": "26.2",
    "requests": "2.34.2",
    "typing-extensions": "4.15.0",
    "setuptools": "82.0.1",
}
"""Libraries of Slicer 5.12 (its SuperBuild folder): a kit fits these and does not carry them, so replaces none."""

_OLDEST_GLIBC = 17  # manylinux_2_17 is manylinux2014; nothing older has Python 3.11
_ROUNDS = 4

Say = Callable[[str], None]


def make(platform: str, python: str, out: Path, bundles: Sequence[Path], say: Say) -> kit_file.Kit:
    """Download the wheels of requirements.txt for a platform, as pip's settings on this computer say, and pack them.

    platform: the end of a wheel's name, e.g. 'win_amd64'; python: e.g. '3.12'; bundles: packed too, each checked
    before; say: called with lines of progress. An existing `out` is replaced when all is done.
    Raises Refusal: USAGE_KIT_TARGET, USAGE_OUTPUT_NOT_WRITABLE, those of bundle.load and of pip (RESOURCE_INSTALL_...).
    """
    tags = _platform_tags(platform, python)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            folder = Path(scratch)
            files = {f"bundles/{packed.name}": packed for packed in _packed(bundles, folder)}
            files |= {
                f"wheels/{wheel.name}": wheel for wheel in _wheels(tags, platform, python, folder / "wheels", say)
            }
            say("Writing the kit")
            return kit_file.write(out, platform, python, __version__, files)
    except OSError as failed:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=failed.strerror or failed) from None


def _platform_tags(platform: str, python: str) -> list[str]:
    """What pip is to accept: older glibcs are named one by one, macOS versions it finds by itself."""
    if not re.fullmatch(r"3\.1[1-9]", python):
        raise Refusal("USAGE_KIT_TARGET", what=f"--python {python}", known="3.11, 3.12, ...")
    if linux := re.fullmatch(r"manylinux_2_([1-9]\d)_(x86_64|aarch64)", platform):
        newest, machine = int(linux[1]), linux[2]
        versions = range(max(newest, _OLDEST_GLIBC), _OLDEST_GLIBC - 1, -1)
        return [*(f"manylinux_2_{version}_{machine}" for version in versions), f"manylinux2014_{machine}"]
    if re.fullmatch(r"win_(amd64|arm64)|macosx_1[1-9]_\d_(arm64|x86_64)", platform):
        return [platform]
    known = "win_amd64, manylinux_2_28_x86_64, macosx_14_0_arm64, macosx_14_0_x86_64, ..."
    raise Refusal("USAGE_KIT_TARGET", what=f"--platform {platform}", known=known)


def _packed(bundles: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Each bundle, checked, as a zip in the folder."""
    from .engine import bundle as loader
    from .engine import bundle_files

    for path in bundles:
        bundle = loader.load(path)
        packed = folder / f"{bundle.id}-{bundle.manifest['version']}.zip"
        with zipfile.ZipFile(packed, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, content in bundle_files.read(path).items():
                archive.writestr(name, content)
        yield packed


def _wheels(tags: Sequence[str], platform: str, python: str, folder: Path, say: Say) -> list[Path]:
    """The wheels that Slicer lacks. pip judges conditions such as `sys_platform == 'win32'` by the computer on which it
    runs, so what it has left out for that is asked for again."""
    wanted = libraries.requirements()
    for _round in range(_ROUNDS):
        _download(wanted, tags, python, folder, say)
        wheels = [wheel for wheel in sorted(folder.glob("*.whl")) if _name(wheel) not in SLICER_BRINGS]
        gaps = _gaps(wheels, platform, python)
        if not gaps:
            return wheels
        wanted += gaps
    raise Refusal("RESOURCE_INSTALL_NO_WHEEL", reason=", ".join(gaps))


def _download(wanted: Sequence[str], tags: Sequence[str], python: str, folder: Path, say: Say) -> None:
    constraints = folder.with_name("constraints.txt")
    constraints.write_text(libraries.constraints(SLICER_BRINGS), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--constraint", str(constraints)]
    command += ["--implementation", "cp", "--python-version", python]
    for tag in tags:
        command += ["--platform", tag]
    lines = []
    with subprocess.Popen(
        [*command, *wanted], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout
        try:
            for line in pip.stdout:
                lines.append(line.strip())
                if line.lstrip().startswith(("Downloading", "Using cached")):
                    say(line.strip())
        except BaseException:
            pip.kill()
            raise
    if pip.returncode:
        raise pip_errors.explain(lines, pip.returncode)


def _name(wheel: Path) -> str:
    from packaging.utils import parse_wheel_filename

    return parse_wheel_filename(wheel.name)[0]


def _gaps(wheels: Sequence[Path], platform: str, python: str) -> list[str]:
    """Requirements of these wheels, on the platform that they are for, that neither they nor Slicer meet."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name, parse_wheel_filename

    there = dict(SLICER_BRINGS)
    there.update((_name(wheel), str(parse_wheel_filename(wheel.name)[1])) for wheel in wheels)
    environment = _environment(platform, python)
    gaps = []
    for wheel in wheels:
        for text in _metadata(wheel).get_all("Requires-Dist", []):
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({**environment, "extra": ""}):
                continue
            version = there.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                gaps.append(f"{requirement.name}{requirement.specifier}")
    return sorted(set(gaps))


def _metadata(wheel: Path) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return message_from_bytes(archive.read(name))


def _environment(platform: str, python: str) -> dict[str, str]:
    """What conditions in requirements ask about, on that platform."""
    system, sys_platform, os_name = next(
        values
        for start, values in {
            "win": ("Windows", "win32", "nt"),
            "macosx": ("Darwin", "darwin", "posix"),
            "manylinux": ("Linux", "linux", "posix"),
        }.items()
        if platform.startswith(start)
    )
    machine = next(m for m in ("x86_64", "aarch64", "arm64", "amd64") if platform.endswith(m))
    return {
        "platform_system": system,
        "sys_platform": sys_platform,
        "os_name": os_name,
        "platform_machine": machine.upper() if system == "Windows" else machine,
        "platform_release": "",
        "platform_version": "",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
