"""`medimg prepare`: one verb, four doors, a summary to read; whole or not at all."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run as run_process

import numpy as np
import pytest
from PIL import Image

from medimg_training.datasets import cifar10
from medimg_training.datasets.manifest import Manifest
from MedImgClassifierLib.cli import main


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for n, name in enumerate(("a/p1_1.png", "a/p1_2.png", "b/p2_1.png")):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(path)
    (tmp_path / "tree" / "readme.txt").write_text("text")
    return tmp_path / "tree"


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., int]:
    def call(*words: str | Path) -> int:
        return main(["prepare", *map(str, words), "--out", str(tmp_path / "out")])

    return call


def test_folders_become_a_manifest_with_a_summary(
    prepare: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare("folders", tree, "--group-by-pattern", r"(p\d)") == 0
    said = capsys.readouterr().out
    assert "task binary, 2 classes, 3 samples in 2 groups (patient)" in said
    assert "1  it lies in no class folder" in said
    assert str(tmp_path / "out" / "manifest.csv") in said
    assert len(Manifest.read(tmp_path / "out" / "manifest.csv").rows) == 3
    assert (tmp_path / "out" / "left_out.csv").exists()
    assert prepare("folders", tree, "--group-by-folder") == 2
    assert "a manifest.csv is there already" in capsys.readouterr().err


def test_a_dry_run_says_the_same_and_writes_nothing(
    prepare: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert prepare("folders", tree, "--no-groups", "phantoms", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "3 samples in 3 groups (none)" in said and "no groups: phantoms" in said and "nothing was written" in said
    assert prepare("folders", tree, "--group-by-folder", "--dry-run") == 3
    assert "'a/p1_1.png' lies in no folder below its class" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_group_rule_it_says_what_to_give(
    prepare: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare("folders", tree) == 3
    assert "--group-by-pattern" in capsys.readouterr().err
    assert prepare("folders", tree, "--no-groups", "  ") == 3
    assert not (tmp_path / "out").exists()


def test_all_problems_of_a_table_are_written_and_gone_when_it_is_right(
    prepare: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tree / "t.csv"
    table.write_text("file;diagnosis;patient\na/p1_1.png;x;1\na/p1_2.png;x ;1\nb/none.png;y;2\n")
    words = ("table", table, "--column", "label=diagnosis")
    assert prepare(*words) == 3
    said = capsys.readouterr()
    assert "line 3: label 'x ' begins or ends with a space (2 rows have problems)" in said.err
    assert "line 4: 'b/none.png' does not exist" in said.out
    with (tmp_path / "out" / "problems.csv").open(newline="") as file:
        assert [(row["line"], row["column"]) for row in csv.DictReader(file)] == [("3", "label"), ("4", "path")]
    assert not (tmp_path / "out" / "manifest.csv").exists()
    table.write_text("file;diagnosis;patient\na/p1_1.png;x;1\na/p1_2.png;x;1\nb/p2_1.png;y;2\n")
    assert prepare(*words) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.csv", "manifest.json"]


def test_problems_of_a_table_of_patients_stay_private(
    prepare: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("PatientID,label\nP1,a \n")
    words = ("dicom", tree, "--labels", tmp_path / "labels.csv", "--by", "PatientID")
    assert prepare(*words, "--private", tmp_path / "private") == 3
    assert (tmp_path / "private" / "problems.csv").exists()
    assert not (tmp_path / "out").exists()
    assert prepare(*words, "--private", tmp_path / "out" / "key") == 3
    assert "error[DATA_KEY]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cifar10_comes_from_its_archive_only(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    assert prepare("cifar10", "--archive", archive, "--download", "--dry-run") == 3
    assert "a dry run downloads nothing" in capsys.readouterr().err
    assert prepare("cifar10", "--archive", archive) == 3
    asked: list[str] = []
    monkeypatch.setattr(cifar10, "download", lambda url, path, *_, **__: [asked.append(url), path.write_bytes(b"x")])
    assert prepare("cifar10", "--archive", archive, "--download") == 3
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]
    assert "its MD5 is" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused(
    prepare: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert prepare("folders", tree, "--group-by-pattern", r"(p\d)") == 2
    assert "USAGE_OUTPUT_NOT_WRITABLE" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("words", [["table", "t.csv", "--column", "label"], ["folders"], []])
def test_wrong_usage_is_told(prepare: Callable[..., int], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare(*words)
    assert ended.value.code == 2


def test_help_needs_none_of_the_libraries() -> None:
    code = (
        "import sys\nfrom MedImgClassifierLib.cli import main\ntry:\n    main(['prepare', 'dicom', '--help'])\n"
        "except SystemExit:\n    pass\nassert not {'torch', 'pydicom', 'PIL', 'tqdm'} & set(sys.modules)"
    )
    done = run_process(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
    assert "--several" in done.stdout


def test_a_manifest_is_made_without_torch(tree: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom MedImgClassifierLib.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["prepare", "folders", str(tree), "--no-groups", "test", "--out", str(tmp_path / "o")]
    done = run_process(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
