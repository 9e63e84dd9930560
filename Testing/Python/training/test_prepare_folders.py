"""Class folders and tables become manifests; nobody's images are split apart by a group that was guessed."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from medimg_training.cache import prepare
from medimg_training.datasets.delimited import read_table
from medimg_training.datasets.folders import draft_of_folders
from medimg_training.datasets.groups import ByFolder, ByPattern, ByTable, Ungrouped
from medimg_training.datasets.manifest import Manifest
from medimg_training.datasets.problems import RowsRefusal
from medimg_training.datasets.table import draft_of_table
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Resize

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
ALONE = Ungrouped("made for a test")


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image at each path below a folder, of the kind that its ending says."""

    def make(*paths: str) -> Path:
        for n, name in enumerate(paths):
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.lower().endswith((".png", ".jpg")):
                Image.fromarray(np.full((8, 8), n, np.uint8)).save(path)
            elif name.endswith((".nii.gz", ".mha")):
                SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full((3, 8, 8), n, np.int16)), str(path))
            elif name.endswith(".dcm"):
                image = SimpleITK.GetImageFromArray(np.full((1, 8, 8), n, np.int16))
                image.SetMetaData("0020|000e", f"1.2.{name.count('/')}.{sum(path.parent.name.encode())}")
                image.SetMetaData("0020|0032", f"0\\0\\{n}")
                image.SetMetaData("0008|0060", "CT")
                writer = SimpleITK.ImageFileWriter()
                writer.KeepOriginalImageUIDOn()
                writer.SetFileName(str(path))
                writer.Execute(image)
            else:
                path.write_text("text")
        return tmp_path / "tree"

    return make


def refused(make: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as found:
        make()
    return found.value


def test_class_folders_of_pictures_and_volumes_become_a_manifest_that_can_be_read(
    tree: Callable[..., Path], tmp_path: Path
) -> None:
    root = tree("cat/p1_a.png", "cat/p1_b.JPG", "cat/deep/p2.nii.gz", "dog/p3.mha", "dog/p3 b.png")
    draft = draft_of_folders(root, ByPattern.of(r"(p\d)", root))
    path = draft.write(tmp_path / "out")
    manifest = Manifest.read(path)
    assert (manifest.classes, manifest.task) == (("cat", "dog"), "binary")
    found = {row.sample: (row.label, row.group, row.group_kind) for row in manifest.rows}
    assert found == {
        "cat/p1_a.png": ("cat", "p1", "patient"),
        "cat/p1_b.JPG": ("cat", "p1", "patient"),
        "cat/deep/p2.nii.gz": ("cat", "p2", "patient"),
        "dog/p3.mha": ("dog", "p3", "patient"),
        "dog/p3 b.png": ("dog", "p3", "patient"),
    }
    spec = InputSpec((ChannelSpec("image"),), (Resize(4, 4),), ())
    assert len(prepare(manifest, manifest.rows, spec, tmp_path / "cache")) == 1 + 1 + 3 + 3 + 1
    assert not (tmp_path / "out" / "left_out.csv").exists()
    assert "cat" in draft.summary() and "5 samples in 3 groups (patient)" in draft.summary()


def test_a_manifest_is_never_written_over_another(tree: Callable[..., Path], tmp_path: Path) -> None:
    draft = draft_of_folders(tree("a/1.png", "b/2.png"), ALONE)
    before = draft.write(tmp_path / "out").read_bytes()
    assert refused(lambda: draft.write(tmp_path / "out")).code == "USAGE_OUTPUT_NOT_WRITABLE"
    assert (tmp_path / "out" / "manifest.csv").read_bytes() == before


def test_split_folders_become_the_column_split(tree: Callable[..., Path]) -> None:
    root = tree("train/a/1.png", "train/b/2.png", "val/a/3.png", "test/b/4.png")
    records = draft_of_folders(root, ALONE).records
    assert [(one["split"], one["label"]) for one in records] == [
        ("test", "b"),
        ("train", "a"),
        ("train", "b"),
        ("val", "a"),
    ]
    root = tree("other/c/5.png")
    assert {one["label"] for one in draft_of_folders(root, ALONE).records} == {"train", "val", "test", "other"}


def test_the_folder_below_the_class_may_be_the_group(tree: Callable[..., Path]) -> None:
    root = tree("a/p1/1.png", "a/p1/study/2.png", "b/p1/3.png", "b/p2/4.png")
    groups = [one["group"] for one in draft_of_folders(root, ByFolder()).records]
    assert groups == ["p1", "p1", "p1", "p2"]
    tree("b/loose.png", "a/loose.png")
    refusal = refused(lambda: draft_of_folders(root, ByFolder()))
    assert isinstance(refusal, RowsRefusal)
    assert [one.sample for one in refusal.problems] == ["a/loose.png", "b/loose.png"]
    assert "2 rows have problems" in str(refusal)


def test_a_table_may_tell_the_groups(tree: Callable[..., Path], tmp_path: Path) -> None:
    root = tree("a/1.png", "b/2.png")
    table = tmp_path / "groups.csv"
    table.write_text("File;Group\na/1.png;x\n./b/2.png;x\n")
    assert [one["group"] for one in draft_of_folders(root, ByTable.read(table)).records] == ["x", "x"]
    table.write_text("file,group\na/1.png,x\n")
    assert "'b/2.png' has no group in groups.csv" in str(refused(lambda: draft_of_folders(root, ByTable.read(table))))
    table.write_text("file,group\na/1.png,x\na/1.png,y\n")
    assert "line 3: 'a/1.png' has group 'y' here and 'x' above" in str(refused(lambda: ByTable.read(table)))


def test_without_a_rule_nothing_is_made_and_a_waiver_is_recorded(tree: Callable[..., Path], tmp_path: Path) -> None:
    root = tree("a/1.png", "b/2.png")
    refusal = refused(lambda: draft_of_folders(root, None))
    assert refusal.code == "DATA_GROUPS"
    assert "--group-by-pattern" in str(refusal) and "--no-groups" in str(refusal)
    manifest = Manifest.read(draft_of_folders(root, ALONE).write(tmp_path / "out"))
    assert manifest.group_waiver == "made for a test"
    assert [(row.group, row.group_kind) for row in manifest.rows] == [("a/1.png", "none"), ("b/2.png", "none")]


@pytest.mark.parametrize("pattern", ["(x)", "(x)?a", "(x*)a"])
def test_a_pattern_that_finds_no_group_is_refused_for_each_image(tree: Callable[..., Path], pattern: str) -> None:
    root = tree("a/1.png", "a/2.png", "ba/3.png")
    refusal = refused(lambda: draft_of_folders(root, ByPattern.of(pattern, root)))
    assert isinstance(refusal, RowsRefusal)
    assert [one.sample for one in refusal.problems] == ["a/1.png", "a/2.png", "ba/3.png"]
    assert "finds no group in 'a/1.png'" in str(refusal)


@pytest.mark.parametrize("pattern", ["p1", "(p)(1)", "(p"])
def test_a_pattern_needs_one_capture_group(pattern: str) -> None:
    assert refused(lambda: ByPattern.of(pattern, Path("root"))).code == "DATA_GROUPS"


def test_what_is_left_out_is_listed_with_its_reason(tree: Callable[..., Path], tmp_path: Path) -> None:
    root = tree("a/1.png", "b/2.png", "b/notes.txt", "b/.DS_Store", "loose.png")
    (root / "a" / "empty.png").touch()
    draft = draft_of_folders(root, ALONE)
    draft.write(tmp_path / "out")
    with (tmp_path / "out" / "left_out.csv").open(newline="") as file:
        assert {row["what"]: row["reason"] for row in csv.DictReader(file)} == {
            "loose.png": "it lies in no class folder",
            "a/empty.png": "it is empty",
            "b/.DS_Store": "it is hidden",
            "b/notes.txt": "it is no image that can be read (.txt)",
        }
    assert "left out: 4" in draft.summary()


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("a/1.png", "b/notes.txt"), "class folder 'b' holds no image"),
        (("a/1.png", "a/2.png", "A/3.png", "b/4.png"), "label 'A' is written differently from class 'a'"),
        (("a/1.png",), "at least two different classes"),
        (("notes.txt",), "at least two different classes"),
    ],
)
def test_trees_without_proper_classes_are_refused(
    tree: Callable[..., Path], tmp_path: Path, paths: tuple[str, ...], said: str
) -> None:
    root = tree(*paths)
    refusal = refused(lambda: draft_of_folders(root, ALONE).write(tmp_path / "out"))
    assert refusal.code == "DATA_SOURCE"
    assert said in str(refusal)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_one_dicom_series_is_one_sample(tree: Callable[..., Path], tmp_path: Path) -> None:
    root = tree("a/s1/1.dcm", "a/s1/2.dcm", "b/single.dcm", "b/p.png")
    draft = draft_of_folders(root, Ungrouped("made for a test"))
    assert [one["path"] for one in draft.records] == ["a/s1", "b/p.png", "b/single.dcm"]
    assert [one["group"] for one in draft_of_folders(tree("b/q/3.dcm"), ByPattern.of("^(.)", root)).records] == list(
        "abbb"
    )
    manifest = Manifest.read(draft.write(tmp_path / "out"))
    spec = InputSpec((ChannelSpec("image"),), (Resize(4, 4),), ())
    assert len(prepare(manifest, manifest.rows, spec, tmp_path / "cache")) == 4


def test_the_folder_of_a_dicom_series_may_be_the_group_itself(tree: Callable[..., Path]) -> None:
    root = tree("a/p1/1.dcm", "a/p1/2.dcm", "b/p2/study/3.dcm")
    assert [one["group"] for one in draft_of_folders(root, ByFolder()).records] == ["p1", "p2"]


def test_a_folder_with_several_dicom_series_is_refused(tree: Callable[..., Path]) -> None:
    root = tree("a/s1/1.dcm", "a/s1/2.dcm", "a/s1/deeper/3.dcm", "b/4.dcm", "b/5.dcm")
    refusal = refused(lambda: draft_of_folders(root, ALONE))
    assert isinstance(refusal, RowsRefusal)
    assert [one.sample for one in refusal.problems] == ["a/s1", "b"]
    assert "medimg prepare dicom" in refusal.problems[0].reason


@pytest.fixture
def table(tree: Callable[..., Path]) -> Callable[[str], Path]:
    root = tree("x/1.png", "x/2.png", "x/3.png")

    def make(text: str, encoding: str = "utf-8") -> Path:
        (root / "table.csv").write_text(text, encoding=encoding, newline="")
        return root / "table.csv"

    return make


def test_usual_columns_are_found_and_others_are_covariates(table: Callable[..., Path], tmp_path: Path) -> None:
    path = table(
        "File Name;Class;Patient-ID;Age;site;acquired\r\nx/1.png;a;7;64;S;2024-01-02\r\nx/2.png;b;8;3,5;S;\r\n"
        "x/3.png;;8;;T;\r\n",
        "utf-8-sig",
    )
    manifest = Manifest.read(draft_of_table(path).write(tmp_path / "out"))
    assert [(r.sample, r.label, r.group, r.group_kind) for r in manifest.rows] == [
        ("x/1.png", "a", "7", "patient"),
        ("x/2.png", "b", "8", "patient"),
        ("x/3.png", "", "8", "patient"),
    ]
    assert manifest.rows[1].covariates == {"Age": "3,5"}
    assert (manifest.rows[2].site, str(manifest.rows[0].acquired)) == ("T", "2024-01-02")


def test_columns_can_be_named_and_names_with_another_meaning_are_set_apart(table: Callable[..., Path]) -> None:
    path = table("image,finding,label,group,scan\nx/1.png,a,free text,arm 1,P1\nx/2.png,b,more,arm 2,P2\n")
    draft = draft_of_table(path, columns={"label": "finding", "group": "scan"}, group_kind="cluster")
    assert draft.records[0] == {
        "path": "x/1.png",
        "sample": "x/1.png",
        "label": "a",
        "group": "P1",
        "group_kind": "cluster",
        "table.label": "free text",
        "table.group": "arm 1",
    }


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("file,name\nx/1.png,a\n", {}, "no column for 'label'"),
        ("name,label\nx/1.png,a\n", {}, "no column for 'path'"),
        ("file,label\nx/1.png,a\n", {}, "none of the columns file, label is known to"),
        ("file,label,group\nx/1.png,a,1\n", {}, "column 'group' does not say what a group is"),
        ("file,label,patient,subject\nx/1.png,a,1,2\n", {}, "patient and subject may each be the column 'group'"),
        ("file,label,patient\nx/1.png,a,1\n", {"columns": {"label": "diagnosis"}}, "no column 'diagnosis'"),
        ("file,label,patient\nx/1.png,a,1\n", {"columns": {"colour": "label"}}, "'colour' is no column of a manifest"),
        ("file,label,label\nx/1.png,a,1\n", {}, "each with a name of its own"),
        ("file,label,patient\nx/1.png,a\nx/2.png,b,1,2\n", {}, "line 2: it has not as many fields"),
        ("file,label,patient\n", {}, "it has no rows"),
        ("file\n", {}, "two at least"),
        ("", {}, "two at least"),
    ],
)
def test_tables_that_leave_a_question_open_are_refused(
    table: Callable[..., Path], text: str, options: dict[str, dict[str, str]], said: str
) -> None:
    path = table(text)
    assert said in str(refused(lambda: draft_of_table(path, **options)))  # type: ignore[arg-type]


def test_all_wrong_rows_are_named_by_their_lines_in_the_table(table: Callable[..., Path], tmp_path: Path) -> None:
    path = table("file,label,patient\n\nx/1.png,a,1\nx/2.png,a ,1\nx/3.png,B,2\nx/no.png,b,3\nx/1.png,b,4\n")
    refusal = refused(lambda: draft_of_table(path, classes=["a", "b"]).write(tmp_path / "out"))
    assert isinstance(refusal, RowsRefusal)
    found = [(one.line, one.column) for one in refusal.problems]
    assert found == [(4, "label"), (5, "label"), (6, "path"), (7, "sample"), (7, "label")]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_each_delimiter_is_told(table: Callable[..., Path], delimiter: str) -> None:
    path = table(f'"a,b{delimiter}c"{delimiter}second one\n1{delimiter}2\n')
    assert read_table(path).rows == ((2, {f"a,b{delimiter}c": "1", "second one": "2"}),)


def test_what_excel_writes_is_read(table: Callable[..., Path]) -> None:
    assert read_table(table("sep=;\r\na;b,c\r\n1;2\r\n", "utf-8-sig")).rows == ((3, {"a": "1", "b,c": "2"}),)
    path = table("a,b\n\u00e4,2\n", "latin-1")
    assert "CSV UTF-8" in str(refused(lambda: read_table(path)))


def test_hashes_of_the_table_are_checked_and_kept(table: Callable[..., Path], tmp_path: Path) -> None:
    import hashlib

    path = table("")
    digests = [hashlib.sha256((path.parent / f"x/{n}.png").read_bytes()).hexdigest() for n in (1, 2)]
    table(f"file,label,patient,sha256\nx/1.png,a,1,{digests[0]}\nx/2.png,b,2,{digests[1]}\n")
    manifest = draft_of_table(path).write(tmp_path / "out")
    assert json.loads(manifest.with_suffix(".json").read_text())["sha256"]["x/2.png"] == digests[1]
    table(f"file,label,patient,sha256\nx/1.png,a,1,{digests[0]}\nx/2.png,b,2,{digests[0]}\n")
    refusal = refused(lambda: draft_of_table(path).write(tmp_path / "other"))
    assert "line 3: 'x/2.png' is not the file that was listed" in str(refusal)
    assert not (tmp_path / "other").exists()


def test_an_ordinal_task_asks_for_the_order(table: Callable[..., Path], tmp_path: Path) -> None:
    path = table("file,label,patient\nx/1.png,mild,1\nx/2.png,grave,2\nx/3.png,none,3\n")
    assert "needs its classes in their order" in str(refused(lambda: draft_of_table(path, task="ordinal")))
    order = ("none", "mild", "grave")
    manifest = Manifest.read(draft_of_table(path, task="ordinal", classes=order).write(tmp_path / "out"))
    assert (manifest.classes, manifest.task) == (order, "ordinal")


@pytest.fixture(scope="module")
def mednist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some images of each class of MedNIST as a folder tree."""
    archive = SHARED_DATA / "mednist64.zip"
    if not archive.is_file():
        pytest.skip(f"real data are not at hand ({archive.name} in ../shared/data)")
    folder = tmp_path_factory.mktemp("mednist")
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            if name.endswith("9.jpeg"):
                target = folder / "tree" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(packed.read(name))
    rows = (SHARED_DATA / "mednist64.csv").read_text().splitlines()
    kept = [row for row in rows[1:] if row.split(",")[0].endswith("9.jpeg")]
    (folder / "mednist.csv").write_text("\n".join([rows[0], *kept]) + "\n")
    return folder


def test_real_pictures_come_in_by_folder_and_by_table_alike(mednist: Path, tmp_path: Path) -> None:
    by_table = draft_of_table(mednist / "mednist.csv", images=mednist / "tree")
    table = Manifest.read(by_table.write(tmp_path / "table"))
    rule = ByPattern.of(r"([A-Za-z]+/\d+)", mednist)
    tree = Manifest.read(draft_of_folders(mednist / "tree", rule, group_kind="cluster").write(tmp_path / "tree"))
    assert table.classes == tree.classes and len(table.classes) == 6
    assert {(row.sample, row.label) for row in table.rows} == {(row.sample, row.label) for row in tree.rows}
    assert Counter(row.split for row in table.rows)["train"] > 100
    assert {row.group_kind for row in (*table.rows, *tree.rows)} == {"cluster"}
    spec = InputSpec((ChannelSpec("image"),), (Resize(8, 8),), ())
    assert len(prepare(tree, tree.rows[::20], spec, tmp_path / "cache")) == len(tree.rows[::20])
