"""The extension as Slicer's build system packages it: CMake configures, builds and installs it, and lists its tests.

`Testing/cmake` stands in for a build of Slicer, with macros that check what they are given. With SLICER_SOURCE_DIR and
CTK_SOURCE_DIR in the environment (source trees, not builds) the same tests run with the macros of these as well.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from extension_copy import NAME, ROOT, Fault, copy_extension, edit

cmake = pytest.importorskip("cmake", reason="CMake comes with the extra `test`")

STAND_IN = ROOT / "Testing" / "cmake"
SCRIPTED_MODULES = Path("lib", "Slicer-5.12", "qt-scripted-modules")


@pytest.fixture(params=["checking", "of-slicer"])
def macros(request: pytest.FixtureRequest) -> list[str]:
    """Options of CMake that choose whose macros build the module: those of Testing/cmake, or Slicer's own."""
    if request.param == "checking":
        return []
    sources = {name: os.environ.get(name, "") for name in ("SLICER_SOURCE_DIR", "CTK_SOURCE_DIR")}
    if not all(sources.values()):
        pytest.skip("Slicer's own macros need SLICER_SOURCE_DIR and CTK_SOURCE_DIR")
    return [f"-DPYTHON_EXECUTABLE={sys.executable}", *(f"-D{k}={Path(v).resolve()}" for k, v in sources.items())]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """One of CMake's programs, from the package that the tests install."""
    command = [str(Path(cmake.CMAKE_BIN_DIR) / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def package(extension: Path, build: Path, macros: list[str], testing: bool = True) -> str | None:
    """Configure, build and install into `build`/installed; the error, or None."""
    options = ["-G", "Unix Makefiles", f"-DSlicer_DIR={STAND_IN}", f"-DBUILD_TESTING={'ON' if testing else 'OFF'}"]
    options += [f"-DCMAKE_TOOLCHAIN_FILE={STAND_IN / 'NoCompiler.cmake'}", *macros]
    for step in (
        ["-S", extension, "-B", build, *options],
        ["--build", build],
        ["--install", build, "--prefix", build / "installed"],
    ):
        done = run("cmake", *step)
        if done.returncode:
            return " ".join((done.stderr or done.stdout).split())
    return None


def registered_tests(build: Path) -> dict[str, list[str]]:
    """{name: command} of what ctest would run."""
    listing = json.loads(run("ctest", "--test-dir", build, "--show-only=json-v1").stdout)
    return {test["name"]: test["command"] for test in listing["tests"]}


def module_files(extension: Path) -> set[str]:
    """What Slicer needs of the module folder: its Python files and all resources."""
    module = extension / NAME
    paths = [*module.glob("*.py"), *module.glob(f"{NAME}Lib/**/*"), *module.glob("Resources/**/*")]
    return {p.relative_to(module).as_posix() for p in paths if p.is_file() and "__pycache__" not in p.parts}


def tree_faults(extension: Path, tree: Path) -> list[str]:
    """How the files of a tree, compiled Python aside, differ from those of the module folder."""
    modules, expected = tree / SCRIPTED_MODULES, module_files(extension)
    packaged = [path for path in (tree / "lib").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    found = {Path(os.path.relpath(path, modules)).as_posix() for path in packaged}
    both = expected & found
    changed = {name for name in both if not filecmp.cmp(extension / NAME / name, modules / name, shallow=False)}
    return [
        *(f"not packaged, add to {NAME}/CMakeLists.txt: {name}" for name in sorted(expected - found)),
        *(f"packaged and no part of the module: {name}" for name in sorted(found - expected)),
        *(f"packaged with other content: {name}" for name in sorted(changed)),
    ]


def registration_faults(extension: Path, build: Path, testing: bool) -> list[str]:
    """How the registered tests differ from the files that hold tests."""
    expected = {f"py_{NAME}", f"py_nomainwindow_qSlicer{NAME}ModuleGenericTest"}
    expected |= {f"py_{path.stem}" for path in (extension / "Testing" / "Python" / "slicer").glob("test_*.py")}
    found = set(registered_tests(build))
    return [
        *(f"test not registered: {name}" for name in sorted((expected if testing else set()) - found)),
        *(f"no test, but registered: {name}" for name in sorted(found - (expected if testing else set()))),
    ]


def description_faults(build: Path, macros: list[str]) -> list[str]:
    """Whether the package is made, under the extension's name, with a description that Slicer's generator keeps."""
    if not (build / "described.txt").is_file():
        return ["include(${Slicer_EXTENSION_CPACK}) is missing: no package is made"]
    described = dict(line.split("=", 1) for line in (build / "described.txt").read_text(encoding="utf-8").splitlines())
    name = described.pop("NAME")
    faults = [] if name == NAME else [f"project({name}) is not named like {NAME}.json"]
    if macros:
        generated = (build / f"{name}.s4ext").read_text(encoding="utf-8").splitlines()
        faults += [f"{key} is changed" for key, value in described.items() if f"{key.lower()} {value}" not in generated]
    return faults


def packaging_faults(extension: Path, build: Path, macros: list[str], testing: bool = True) -> list[str]:
    """What is wrong with the packaged extension: the error of CMake, or every difference from what should come out."""
    error = package(extension, build, macros, testing)
    if error:
        return [error]
    faults = tree_faults(extension, build) + tree_faults(extension, build / "installed")
    faults += registration_faults(extension, build, testing) + description_faults(build, macros)
    return list(dict.fromkeys(faults))  # what is not built is not installed either


@pytest.mark.parametrize("testing", [True, False], ids=["BUILD_TESTING", "without-tests"])
def test_package_is_the_module_folder_with_its_tests(macros: list[str], testing: bool, tmp_path: Path) -> None:
    assert packaging_faults(ROOT, tmp_path, macros, testing) == []


# As ctest runs them: the built modules are on the path, and runUnitTest appends the folders it is given.
_LOAD_TESTS = """
import sys, types, unittest
modules, *codes = sys.argv[1:]
sys.path.insert(0, modules)
import slicer

def load(folders, name):
    sys.path.extend(folders)
    loader = unittest.TestLoader()
    assert loader.loadTestsFromName(name).countTestCases() and not loader.errors, (name, loader.errors)

slicer.testing = sys.modules["slicer.testing"] = types.SimpleNamespace(runUnitTest=load)
for code in codes:
    exec(code)
import MedImgClassifierLib
print(MedImgClassifierLib.__file__)
"""


def test_tests_load_with_their_helpers_and_the_built_library(macros: list[str], tmp_path: Path) -> None:
    pytest.importorskip("slicer", reason="needs slicer-core")
    assert package(ROOT, tmp_path, macros) is None
    commands = [command for name, command in registered_tests(tmp_path).items() if name.startswith("py_test_")]
    modules = {command[command.index("--additional-module-paths") + 1] for command in commands}
    assert modules == {str(tmp_path / SCRIPTED_MODULES)}
    codes = [command[command.index("--python-code") + 1].replace("\\;", ";") for command in commands]
    python = [sys.executable, "-I", "-c", _LOAD_TESTS]
    done = subprocess.run([*python, *modules, *codes], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.split()[-1]).is_relative_to(tmp_path)


TOP, MODULE, TESTS = "CMakeLists.txt", f"{NAME}/CMakeLists.txt", "Testing/Python/slicer/CMakeLists.txt"
LIB = f"{NAME}/{NAME}Lib"
RESOURCE = "  Resources/requirements.txt\n"
OWN_TEST = "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)"
SCENE_TEST = "slicer_add_python_unittest(SCRIPT Python/slicer/test_scene_results.py)"
CONFIG, CPACK = "include(${Slicer_EXTENSION_GENERATE_CONFIG})", "include(${Slicer_EXTENSION_CPACK})"

# What is broken, how, and what the finding says: first of our macros, then of Slicer's.
FAULTS: dict[str, tuple[Fault, str]] = {
    "script is gone": (lambda e: (e / LIB / "resources.py").unlink(), r"no such file: \S+Lib/resources|nonexistent"),
    "resource is gone": (
        lambda e: (e / NAME / "Resources" / "requirements.txt").unlink(),
        r"no such file: Resources/requirements|nonexistent",
    ),
    "path leaves the folder": (
        edit(MODULE, RESOURCE, RESOURCE + "  ../README.md\n"),
        r"not a plain relative path: \.\./README|no part of the module: \.\./README",
    ),
    "path is absolute": (
        lambda e: edit(MODULE, RESOURCE, f"{RESOURCE}  {e.as_posix()}/README.md\n")(e),
        "absolute path: |no part of the module: .*README",
    ),
    "keyword has a typo": (
        edit(MODULE, "  RESOURCES ${", "  RESOURCE ${"),
        "no such file: RESOURCE |nonexistent .* 'RESOURCE'",
    ),
    "option has a typo": (
        edit(MODULE, "WITH_GENERIC_TESTS", "WITH_GENERIC_TEST"),
        "no such file: WITH_GENERIC_TEST |nonexistent .* 'WITH_GENERIC_TEST'",
    ),
    "keyword of a test has a typo": (
        edit(MODULE, OWN_TEST, OWN_TEST.replace("SCRIPT ", "SCRIPTS ")),
        f"unknown arguments: SCRIPTS|not registered: py_{NAME}|get_filename_component",
    ),
    "name is forgotten": (edit(MODULE, "  NAME ${MODULE_NAME}\n", ""), "NAME is m(issing|andatory)"),
    "scripts are forgotten": (
        edit(MODULE, "  SCRIPTS ${MODULE_PYTHON_SCRIPTS}\n", ""),
        "SCRIPTS is m(issing|andatory)|not packaged, .*: MedImgClassifier.py",
    ),
    "new code is not listed": (
        lambda e: (e / LIB / "engine" / "forgotten.py").write_text(""),
        "not packaged, .*engine/forgotten.py",
    ),
    "code is no longer listed": (
        edit(MODULE, "  ${MODULE_NAME}Lib/engine/errors.py\n", ""),
        "not packaged, .*engine/errors.py",
    ),
    "file beside the code is not listed": (
        lambda e: (e / LIB / "py.typed").write_text(""),
        "not packaged, .*py.typed",
    ),
    "new resource is not listed": (
        lambda e: (e / NAME / "Resources" / "forgotten.qm").write_bytes(b"\x00"),
        "not packaged, .*forgotten.qm",
    ),
    "generic tests are dropped": (edit(MODULE, "  WITH_GENERIC_TESTS\n", ""), "not registered: py_nomainwindow"),
    "module's own test is dropped": (edit(MODULE, OWN_TEST, ""), f"not registered: py_{NAME}"),
    "folder of tests is dropped": (
        edit("Testing/CMakeLists.txt", "add_subdirectory(Python/slicer)", ""),
        "not registered: py_test_scene_results",
    ),
    "some tests are dropped": (
        edit(TESTS, '"test_*.py"', '"test_scene_*.py"'),
        "not registered: py_test_module_evidence_choice",
    ),
    "helper is taken for a test": (edit(TESTS, '"test_*.py"', '"*.py"'), "but registered: py_scene_checks"),
    "project has another name": (
        edit(TOP, f"project({NAME})", "project(MedicalImageClassifier)"),
        r"project\(MedicalImageClassifier\) is not named like",
    ),
    "package is not made": (edit(TOP, CPACK, ""), "no package is made"),
    "field of the description is empty": (
        edit(TOP, 'set(EXTENSION_DEPENDS "PyTorch")', 'set(EXTENSION_DEPENDS "")'),
        "EXTENSION_DEPENDS must be set",
    ),
}
# Slicer's macros let these pass; what comes of them shows late, or on other systems only.
SILENT_FAULTS: dict[str, tuple[Fault, str]] = {
    "resource stands twice": (edit(MODULE, RESOURCE, RESOURCE * 2), "listed twice: Resources/requirements"),
    "path takes a detour": (
        edit(MODULE, RESOURCE, "  Resources/UI/../requirements.txt\n"),
        "not a plain relative path: Resources/UI/../requirements",
    ),
    "folder in place of a file": (edit(MODULE, RESOURCE, RESOURCE + "  Resources/UI\n"), "no such file: Resources/UI"),
    "script without its suffix": (edit(MODULE, "  ${MODULE_NAME}Lib/cli.py\n", "  ${MODULE_NAME}Lib/cli\n"), "no such"),
    "test is registered twice": (edit(MODULE, OWN_TEST, f"{OWN_TEST}\n{OWN_TEST}"), f"py_{NAME}: registered twice"),
    "keyword that no test reads": (
        edit(MODULE, OWN_TEST, OWN_TEST.replace(")", " TIMEOUT 60)")),
        "unknown arguments: TIMEOUT",
    ),
    "test is not beside its list": (
        edit("Testing/CMakeLists.txt", "add_subdirectory(Python/slicer)", SCENE_TEST),
        "not in the folder of its CMakeLists.txt: Python/slicer/test_scene_results.py",
    ),
    "tests without BUILD_TESTING": (edit(MODULE, "if(BUILD_TESTING)", "if(TRUE)"), r"only if\(BUILD_TESTING\)"),
    "configuration after packaging": (edit(TOP, f"{CONFIG}\n{CPACK}", f"{CPACK}\n{CONFIG}"), "comes before"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, macros: list[str], tmp_path: Path) -> None:
    extension = copy_extension(tmp_path / "extension")
    seed, finding = FAULTS[fault]
    seed(extension)
    assert re.search(finding, "\n".join(packaging_faults(extension, tmp_path / "build", macros)))


@pytest.mark.parametrize("fault", SILENT_FAULTS)
def test_fault_that_slicers_macros_let_pass_is_found(fault: str, tmp_path: Path) -> None:
    extension = copy_extension(tmp_path / "extension")
    seed, finding = SILENT_FAULTS[fault]
    seed(extension)
    faults = packaging_faults(extension, tmp_path / "tested", [])
    faults += packaging_faults(extension, tmp_path / "untested", [], testing=False)
    assert re.search(finding, "\n".join(faults))
