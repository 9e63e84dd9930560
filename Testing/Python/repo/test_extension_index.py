"""What the index of Slicer's extensions checks before it takes one, as far as that needs no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from pathlib import Path

import jsonschema
import pytest

from extension_copy import NAME, ROOT, Fault, copy_extension, edit

FIELDS = ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
ENTRY = f"Resources/ExtensionsIndex/{NAME}.json"
LICENSE_NAMES = ("LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING", "COPYING.txt")
# Version 1.0.2 of the index's schema in our words, narrowed to what its checks and this extension allow.
ENTRY_SCHEMA = {
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"pattern": r"^https://.+/slicer-extension-catalog-entry-schema-v1\.0\.2\.json#?$"},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "build_subdirectory": {"const": "."},
        "category": {"const": "Informatics"},
        "dicom_support_rule": {"type": "string"},
        "enabled": {"type": "boolean"},
        "scm_revision": {"type": "string", "not": {"pattern": "^[0-9a-f]{7,40}$"}},
        "scm_type": {"const": "git"},
        "scm_url": {"pattern": r"^(https|git)://[^/]+/.+"},
        "tier": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}


def entry_faults(raw: bytes) -> list[str]:
    """What is wrong with the description file itself: its fields, and its layout, which the index's linter fixes."""
    entry = json.loads(raw)
    faults = [error.message for error in jsonschema.Draft7Validator(ENTRY_SCHEMA).iter_errors(entry)]
    if raw != (json.dumps(entry, indent=2) + "\n").encode():
        faults.append("description file: indent by two spaces, end lines with LF")
    return faults


def picture_size(path: Path) -> tuple[int, ...] | None:
    """(width, height) of a PNG; None for what is none."""
    head = path.read_bytes()[:24] if path.is_file() else b""
    return struct.unpack(">II", head[16:24]) if head.startswith(b"\x89PNG\r\n\x1a\n") else None


def metadata_faults(extension: Path, text: str, entry: dict[str, object]) -> list[str]:
    """What is wrong with the fields in the top CMakeLists.txt, by themselves and beside the description file.

    The index finds them line by line with regular expressions, and so do we.
    """
    found = {field: re.findall(rf'^set\(EXTENSION_{field} "([^"\n]+)"\)', text, re.MULTILINE) for field in FIELDS}
    faults = [f"EXTENSION_{field} does not stand once, on a line" for field in FIELDS if len(found[field]) != 1]
    if faults:
        return faults
    homepage, contributors, description, icon, screenshots, depends = (found[field][0] for field in FIELDS)
    raw = f"{homepage.replace('//github.com/', '//raw.githubusercontent.com/')}/{entry.get('scm_revision')}/"
    pictures = {url: picture_size(extension / url.removeprefix(raw)) for url in [icon, *screenshots.split()]}
    faults = [
        f"not the raw address of a PNG under Resources/: {url}"
        for url, size in pictures.items()
        if not url.startswith(f"{raw}Resources/") or size is None
    ]
    conditions = {
        "the icon is not 128 x 128": pictures[icon] == (128, 128),
        "the repository is not named Slicer<extension>": homepage.rpartition("/")[2] == f"Slicer{NAME}",
        "scm_url is not the homepage's repository": entry["scm_url"] == f"{homepage}.git",
        "dependencies differ": depends.split() == entry.get("build_dependencies"),
        "description: one or two sentences": len(re.findall(r"\.(?: |$)", description)) in (1, 2),
        "description names no modality": {"CT", "MR"} <= set(description.split()),
        "text of the template is left": not re.search("John Doe|AnyWare|[Ee]xample", homepage + contributors),
    }
    return faults + [fault for fault, holds in conditions.items() if not holds]


def homepage_faults(extension: Path) -> list[str]:
    """What the README, which is the homepage, does not say, and whether the licence is found."""
    readme = (extension / "README.md").read_text(encoding="utf-8")
    module = (extension / NAME / f"{NAME}.py").read_text(encoding="utf-8")
    (title,) = re.findall(r'parent\.title = _\("(.+?)"\)', module)
    wanted = (f"# {NAME}\n", title, "Resources/Screenshots/", "Apache-2.0", "To cite", "Sample Data")
    faults = [f"README.md lacks {text.strip()!r}" for text in wanted if text not in readme]
    if not any((extension / name).is_file() for name in LICENSE_NAMES):
        faults.append("no licence under a name that the index looks for")
    return faults


def index_faults(extension: Path) -> list[str]:
    """What the index would object to."""
    raw = (extension / ENTRY).read_bytes()
    text = (extension / "CMakeLists.txt").read_text(encoding="utf-8")
    faults = entry_faults(raw)
    if re.findall(r"project\s*\(\s*([^\s)]+)", text, re.IGNORECASE) != [Path(ENTRY).stem]:
        faults.append(f"there is not one project({NAME})")
    if text.count("\n## NEXT_MODULE\n") != 1:
        faults.append("Slicer's wizard adds modules at the comment ## NEXT_MODULE")
    return faults + metadata_faults(extension, text, json.loads(raw)) + homepage_faults(extension)


def test_index_has_nothing_to_object_to() -> None:
    assert index_faults(ROOT) == []


def test_description_file_passes_slicers_own_schema() -> None:
    if not os.environ.get("SLICER_SOURCE_DIR"):
        pytest.skip("Slicer's schema is in its sources: SLICER_SOURCE_DIR")
    name = "slicer-extension-catalog-entry-schema-v1.0.2.json"
    schema = json.loads(Path(os.environ["SLICER_SOURCE_DIR"], "Schemas", name).read_text(encoding="utf-8"))
    jsonschema.validate(json.loads((ROOT / ENTRY).read_text(encoding="utf-8")), schema)
    assert set(schema["properties"]) == set(ENTRY_SCHEMA["properties"])  # type: ignore[arg-type]
    assert schema["required"] == ENTRY_SCHEMA["required"]


def test_repository_is_small_enough() -> None:
    """The index takes 100 MB, history included; half of it may be what is checked out."""
    made_here = {"build", "dist", "out"}
    tops = [path for path in ROOT.iterdir() if not path.name.startswith(".") and path.name not in made_here]
    files = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 50e6


def test_questions_and_checklist_of_the_index_are_answered() -> None:
    answers = (ROOT / "docs" / "extension-index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", answers, re.MULTILINE) == [str(number) for number in range(1, 12)]
    assert [tier in answers for tier in ("## Tier 1", "## Tier 3", "## Tier 5")] == [True] * 3


TOP = "CMakeLists.txt"
# What is broken, how, and what the finding says.
FAULTS: dict[str, tuple[Fault, str]] = {
    "second project": (edit(TOP, f"project({NAME})", f"project({NAME})\nproject({NAME}Tests)"), "not one project"),
    "project has another name": (edit(TOP, f"project({NAME})", "project(Other)"), "not one project"),
    "wizard's mark is gone": (edit(TOP, "## NEXT_MODULE\n", ""), "NEXT_MODULE"),
    "dependencies differ": (edit(TOP, 'DEPENDS "PyTorch"', 'DEPENDS "NA"'), "dependencies differ"),
    "dependency is not in the entry": (edit(ENTRY, '[\n    "PyTorch"\n  ]', "[]"), "dependencies differ"),
    "field spans lines": (edit(TOP, "slice by slice", "slice\nby slice"), "DESCRIPTION does not stand once"),
    "field has another name": (edit(TOP, "EXTENSION_ICONURL", "EXTENSION_ICON_URL"), "ICONURL does not stand once"),
    "icon is gone": (lambda e: (e / "Resources" / f"{NAME}.png").unlink(), "not the raw address"),
    "icon is an SVG": (edit(TOP, f"main/Resources/{NAME}.png", f"main/Resources/{NAME}.svg"), "not the raw address"),
    "icon has another size": (
        lambda e: shutil.copy(e / "Resources/Screenshots/overlay.png", e / "Resources" / f"{NAME}.png"),
        "not 128 x 128",
    ),
    "icon is on another branch": (edit(TOP, f"main/Resources/{NAME}.png", f"dev/Resources/{NAME}.png"), "raw address"),
    "screenshot is a web page": (edit(TOP, "overlay.png", "overlay.png?raw=true"), "not the raw address"),
    "homepage is another repository": (edit(TOP, 'HOMEPAGE "https://github.com/', 'HOMEPAGE "https://a.b/'), "scm_url"),
    "repository lacks Slicer's name": (edit(ENTRY, "/SlicerMedImg", "/MedImg"), "scm_url is not"),
    "contributors of the template": (edit(TOP, f"{NAME} contributors", "John Doe (AnyWare Corp.)"), "template"),
    "description is long": (edit(TOP, "not for diagnosis.", "not for diagnosis. Fast. Light."), "one or two sentences"),
    "description is vague": (edit(TOP, "Classifies CT and MR volumes", "Classifies volumes"), "no modality"),
    "category is unknown": (edit(ENTRY, "Informatics", "Classification"), "'Informatics' was expected"),
    "tier is none": (edit(ENTRY, '"tier": 1', '"tier": 6'), "maximum of 5"),
    "key is unknown": (edit(ENTRY, '"tier"', '"title": "x",\n  "tier"'), "'title' was unexpected"),
    "key is missing": (edit(ENTRY, '  "category": "Informatics",\n', ""), "'category' is a required property"),
    "revision is a commit": (edit(ENTRY, '"main"', f'"{"0a" * 20}"'), "should not be valid"),
    "schema is older": (edit(ENTRY, "v1.0.2", "v1.0.1"), "does not match"),
    "scheme is ssh": (edit(ENTRY, "https://github.com", "ssh://git@github.com"), "does not match"),
    "lines end as on Windows": (lambda e: (e / ENTRY).write_text((e / ENTRY).read_text(), newline="\r\n"), "with LF"),
    "licence has a name that is not looked for": (lambda e: (e / "LICENSE").rename(e / "LICENSE.md"), "no licence"),
    "README shows and cites nothing": (
        lambda e: (e / "README.md").write_text(f"# {NAME}\n"),
        "lacks 'Resources/Screenshots/'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, tmp_path: Path) -> None:
    extension = copy_extension(tmp_path / "extension")
    seed, finding = FAULTS[fault]
    seed(extension)
    assert finding in "\n".join(index_faults(extension))
