"""Break the module in the ways of seeded_faults.txt, one at a time, and see whether its tests notice.

python Testing/seeded_faults.py [--list] [--only NAME] [--out build/seeded-faults] [--jobs N] [--deselect TEST]

Each fault is put into a copy of the tree, in which the rooms of tests run until the first failure. First they all run
in a copy without a fault, and nothing is seeded where one fails. What was found is kept in OUT/results.json and not run
again as long as neither the fault nor the tree has changed. Exit code: 1 a fault was missed, 2 a test fails as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".txt")
NEEDED = (
    "MedImgClassifier",
    "Testing",
    "training",
    "Resources",
    "docs",
    "Makefile",
    "CMakeLists.txt",
    "pyproject.toml",
)
ROOMS = ("presenter", "panel", "slicer", "host")
LIMIT_S = 1200
"""A room of tests that has not ended by then hangs."""


class Fault(NamedTuple):
    name: str
    file: str  # under MedImgClassifier/
    seen: str  # by a user
    old: str
    new: str

    def seeded(self, text: str) -> str:
        """The text of the file with the fault. Raises ValueError where its place is not there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: what it replaces stands {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)

    def rooms(self) -> list[str]:
        """Where it is noticed soonest comes first; all of them where it is not."""
        own = "slicer" if "/scene/" in self.file else "panel"
        return sorted(ROOMS, key=lambda room: (room != "presenter", room != own))


class Verdict(NamedTuple):
    """By what it was caught: a test, a hang, a crash; '' where all tests pass."""

    by: str
    seconds: float


def read_faults(path: Path = LIST) -> list[Fault]:
    """The faults of a list, in its order."""
    text = "".join(line for line in path.read_text("utf-8").splitlines(True) if not line.startswith("#"))
    return [_fault(block.splitlines()) for block in text.strip("\n").split("\n\n")]


def _fault(lines: Sequence[str]) -> Fault:
    name, file, seen, *change = lines
    if any(line[0] not in " -+" for line in change):
        raise ValueError(f"{name}: a line of the change begins with none of ' ', '-', '+'")
    old, new = ("".join(f"{line[1:]}\n" for line in change if line[0] in kept) for kept in (" -", " +"))
    return Fault(name, file, seen, old, new)


def copy_tree(source: Path, to: Path) -> None:
    """What the tests need, without compiled files, which would hide a fault of the same length."""
    to.mkdir(parents=True)
    for name in NEEDED:
        if (source / name).is_dir():
            shutil.copytree(source / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source / name, to / name)


def digest(tree: Path) -> str:
    """Of all files of a copy but the faults and this script."""
    found = hashlib.sha256()
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and path.stem != LIST.stem):
        found.update(f"{path.relative_to(tree)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def run_room(tree: Path, room: str, deselected: Sequence[str], everything: bool = False) -> tuple[int, str]:
    """(exit code, output) of the tests of a room in a copy; -SIGALRM where they hang. everything: all that fail."""
    options = ["-q", "-p", "no:cacheprovider", "--tb=line", *(() if everything else ("-x",))]
    options += [f"--deselect={test}" for test in deselected]
    paths = os.pathsep.join(str(tree / name) for name in ("MedImgClassifier", "training"))
    with tempfile.TemporaryFile() as said:  # a pipe would stay open in what a killed test has started
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, f"Testing/Python/{room}"],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = -signal.SIGALRM
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        return code, said.read().decode("utf-8", "replace")


def failed_tests(output: str) -> list[str]:
    found = re.findall(r"^(?:FAILED|ERROR|SUBFAIL\S*).*?\bTesting/Python/(\S+)", output, re.MULTILINE)
    return list(dict.fromkeys(found))


def try_fault(fault: Fault, snapshot: Path, deselected: Sequence[str]) -> Verdict:
    """What the tests say of a copy of the tree with a fault."""
    began = time.monotonic()
    with _copy_of(snapshot) as tree:
        broken = tree / "MedImgClassifier" / fault.file
        broken.write_text(fault.seeded(broken.read_text("utf-8")), "utf-8")
        for room in fault.rooms():
            code, output = run_room(tree, room, deselected)
            if code:
                return Verdict(_told(room, code, output), time.monotonic() - began)
    return Verdict("", time.monotonic() - began)


def _told(room: str, code: int, output: str) -> str:
    if code == -signal.SIGALRM:
        return f"{room}: hangs"
    if code < 0:
        return f"{room}: ends with signal {-code}"
    tests = failed_tests(output)
    if not tests:
        raise RuntimeError(f"pytest ended with {code} and named no test:\n{output[-2000:]}")
    return tests[0]


@contextmanager
def _copy_of(snapshot: Path) -> Iterator[Path]:
    """A copy in a folder of its own, with the same ../shared as the repository where there is one."""
    with tempfile.TemporaryDirectory(prefix="medimg-fault-", ignore_cleanup_errors=True) as folder:
        if (ROOT.parent / "shared").is_dir():
            (Path(folder) / "shared").symlink_to(ROOT.parent / "shared")
        copy_tree(snapshot, Path(folder) / "tree")
        yield Path(folder) / "tree"


class Results:
    """What was found so far, in OUT/results.json. tree: digest of that which is tried now."""

    def __init__(self, out: Path, tree: str, deselected: Sequence[str]) -> None:
        self._path, self._tree = out / "results.json", f"{tree} {' '.join(sorted(deselected))}"
        self._found: dict[str, Any] = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}

    def get(self, name: str, what: object) -> Any:
        """The answer for something that is the same now, in a tree that is the same; None for none."""
        known = self._found.get(name, {})
        return known.get("answer") if known.get("of") == self._key(what) else None

    def keep(self, name: str, what: object, answer: Any) -> None:
        self._found[name] = {"of": self._key(what), "answer": answer}
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(self._found, indent=1, ensure_ascii=False), "utf-8")
        beside.replace(self._path)

    def _key(self, what: object) -> str:
        return hashlib.sha256(f"{self._tree} {what}".encode()).hexdigest()


def unbroken(results: Results, snapshot: Path, deselected: Sequence[str]) -> bool:
    """Whether all tests pass without a fault; says which do not."""
    failed = results.get("no fault", ROOMS)
    if failed is None:
        print("All tests without a fault first ...", flush=True)
        with _copy_of(snapshot) as tree:
            ended = {room: run_room(tree, room, deselected, everything=True) for room in ROOMS}
        failed = []
        for room, (code, output) in ended.items():
            failed += (failed_tests(output) or [_told(room, code, output)]) if code else []
        results.keep("no fault", ROOMS, failed)
    for test in failed:
        print(f"fails without a fault: Testing/Python/{test}")
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="say which faults there are, and run nothing")
    parser.add_argument("--only", metavar="NAME", action="append", help="try this fault (may be repeated)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "seeded-faults", help="where results are kept")
    parser.add_argument("--jobs", type=int, default=1, help="how many to try at once, where cores are free")
    parser.add_argument("--deselect", metavar="TEST", action="append", default=[], help="a test to leave out")
    chosen = parser.parse_args()
    faults = [fault for fault in read_faults() if not chosen.only or fault.name in chosen.only]
    if not faults or len(faults) < len(chosen.only or ()):
        parser.error("there is no fault of that name: see --list")
    for fault in faults:
        fault.seeded((ROOT / "MedImgClassifier" / fault.file).read_text("utf-8"))
        if chosen.list:
            print(f"{fault.name}\n    {fault.file}: {fault.seen}")
    return 0 if chosen.list else replay(faults, chosen.out, chosen.jobs, chosen.deselect)


def replay(faults: Sequence[Fault], out: Path, jobs: int, deselected: Sequence[str]) -> int:
    """Try faults on the tree as it is now, whatever is edited meanwhile. Exit code as of `main`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="medimg-faults-") as folder:
        snapshot = Path(folder) / "tree"
        copy_tree(ROOT, snapshot)
        results = Results(out, digest(snapshot), deselected)
        if not unbroken(results, snapshot, deselected):
            return 2

        def attempt(fault: Fault) -> Verdict:
            known = results.get(fault.name, fault)
            return Verdict(*known) if known else try_fault(fault, snapshot, deselected)

        missed = []
        with ThreadPoolExecutor(jobs) as pool:
            for fault, verdict in zip(faults, pool.map(attempt, faults), strict=True):
                results.keep(fault.name, fault, verdict)
                missed += [] if verdict.by else [fault]
                told = f"caught by {verdict.by}" if verdict.by else f"MISSED ({fault.seen})"
                print(f"{fault.name}: {told}, {verdict.seconds:.0f} s", flush=True)
    print(f"{len(faults) - len(missed)} of {len(faults)} faults caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
