"""`medimg classify` from end to end: what it writes, and what it refuses without leaving anything behind."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image

import spot_bundle as maker
from MedImgClassifierLib.cli import main
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.result import NOTICE, Classification
from MedImgClassifierLib.engine.volume import Volume

SCENE = find_spec("slicer") is not None


def save_nrrd(volume: Volume, path: Path) -> Path:
    matrix = volume.ijk_to_lps
    assert matrix is not None
    image = SimpleITK.GetImageFromArray(volume.voxels)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def answered(spot_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Volume, np.ndarray, int, str]:
    """Results folder of one run in a process of its own, with what went in and what was printed."""
    folder = tmp_path_factory.mktemp("classify")
    volume, spot, k = maker.stack_with_spot("oblique")
    source = save_nrrd(volume, folder / "spot.nrrd")
    command = [sys.executable, "-m", "MedImgClassifierLib.cli", "classify", source, "--bundle", spot_bundle]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8"}
    run = subprocess.run(
        [*map(str, command), "--out", str(folder / "out")], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder / "out", volume, spot, k, run.stdout


def test_it_writes_results_table_picture_and_scene(answered: tuple) -> None:  # type: ignore[type-arg]
    out, _, _, _, printed = answered
    names = {"results.json", "results.csv", "report.html", "overlay.png"} | ({"scene.mrb"} if SCENE else set())
    assert {path.name for path in out.iterdir()} == names
    assert all(path.stat().st_size > 0 for path in out.iterdir())
    assert [path.name for path in out.parent.iterdir() if "partial" in path.name] == []
    for name in names:
        assert str(out / name) in printed
    assert NOTICE in printed and "uncalibrated" in printed


def test_the_evidence_in_results_json_lies_on_the_spot(answered: tuple) -> None:  # type: ignore[type-arg]
    out, volume, spot, k, _ = answered
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    peak = np.array(document["slices"][k]["evidence_peak_lps"])
    assert np.linalg.norm(peak - spot) <= maker.cell_size_mm(volume)
    assert document["slices"][k]["label"] == "bright"
    assert Classification.from_json(document).counts() == [len(volume.voxels) - 1, 1]


def test_the_report_has_answer_pictures_and_card(answered: tuple) -> None:  # type: ignore[type-arg]
    page = (answered[0] / "report.html").read_text(encoding="utf-8")
    assert (
        "dark in 8 of 9 slices (uncalibrated)" in page and page.count("data:image/png") == 2
    )  # one slice shows anything
    assert NOTICE in page and "anything else" in page  # what the bundle is not for, from its card


def test_the_csv_has_a_row_a_slice(answered: tuple) -> None:  # type: ignore[type-arg]
    out, volume, _, k, _ = answered
    with (out / "results.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(volume.voxels)
    assert [row["label"] for row in rows].index("bright") == k


def test_the_picture_is_a_png_with_colour_on_it(answered: tuple) -> None:  # type: ignore[type-arg]
    picture = np.asarray(Image.open(answered[0] / "overlay.png").convert("RGB"), np.int16)
    assert (np.ptp(picture, axis=2) > 60).sum() > 100


def test_a_second_run_replaces_its_files_and_spares_others(answered: tuple, spot_bundle: Path) -> None:  # type: ignore[type-arg]
    out = answered[0]
    (out / "notes.txt").write_text("mine")
    before = (out / "results.json").stat().st_mtime_ns
    assert main(["classify", str(out.parent / "spot.nrrd"), "--bundle", str(spot_bundle), "--out", str(out)]) == 0
    assert (out / "results.json").stat().st_mtime_ns > before
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()


def missing(folder: Path) -> Path:
    return folder / "nothing.nrrd"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def text(folder: Path) -> Path:
    (folder / "text.nrrd").write_text("hello")
    return folder / "text.nrrd"


def four_dimensional(folder: Path) -> Path:
    image = SimpleITK.JoinSeries([SimpleITK.Image([8, 8, 4], SimpleITK.sitkInt16)] * 3)
    SimpleITK.WriteImage(image, str(folder / "4d.nii.gz"))
    return folder / "4d.nii.gz"


def truncated(folder: Path) -> Path:
    path = save_nrrd(maker.stack_with_spot("axial")[0], folder / "cut.mha")
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def two_series(folder: Path) -> Path:
    from pydicom.uid import generate_uid

    (folder / "two").mkdir()
    for series in (generate_uid(), generate_uid()):
        for k in range(3):
            image = SimpleITK.GetImageFromArray(np.full((1, 8, 8), k + 1, np.int16))
            for tag, value in {
                "0008|0060": "CT",
                "0020|000e": series,
                "0020|000d": "1.2.3",
                "0008|0018": generate_uid(),
                "0020|0032": f"0\\0\\{k * 2}",
                "0020|0037": "1\\0\\0\\0\\1\\0",
                "0020|0013": str(k),
            }.items():
                image.SetMetaData(tag, value)
            writer = SimpleITK.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.SetFileName(str(folder / "two" / f"{series}-{k}.dcm"))
            writer.Execute(image)
    return folder / "two"


@pytest.mark.parametrize(
    "make, code",
    [
        (missing, "INPUT_NOT_FOUND"),
        (empty, "INPUT_EMPTY_FOLDER"),
        (text, "INPUT_NOT_AN_IMAGE"),
        (four_dimensional, "INPUT_DIMENSIONS"),
        (truncated, "INPUT_TRUNCATED"),
        (two_series, "INPUT_SEVERAL_SERIES"),
    ],
)
def test_bad_input_is_one_line_status_3_and_nothing_is_left(
    make: Callable[[Path], Path], code: str, spot_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    status = main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "out" / "deep")])
    error = capsys.readouterr().err.splitlines()[-1].split("\r")[-1]
    assert status == 3
    assert f"error[{code}]: " in error and "; " in error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_series_can_be_chosen_of_several(spot_bundle: Path, tmp_path: Path) -> None:
    folder = two_series(tmp_path)
    uid = sorted({path.name.rsplit("-", 1)[0] for path in folder.iterdir()})[0]
    command = ["classify", str(folder), "--series", uid, "--bundle", str(spot_bundle), "--out", str(tmp_path / "out")]
    assert main(command) == 3  # every slice is of one grey: the right refusal, after the right series was read
    assert main([*command[:3], "1.2.3.4", *command[4:]]) == 3
    assert not (tmp_path / "out").exists()


def test_a_changed_byte_in_the_bundle_is_status_4(
    spot_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(weights)
    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    assert main(["classify", str(source), "--bundle", str(copy), "--out", str(tmp_path / "out")]) == 4
    assert "error[BUNDLE_CHANGED]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["verify", str(copy)]) == 4


def test_an_unknown_bundle_or_an_output_that_cannot_be_written_is_status_2(
    spot_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    assert main(["classify", str(source), "--bundle", "no-such", "--out", str(tmp_path / "out")]) == 2
    assert "error[USAGE_BUNDLE_UNKNOWN]" in capsys.readouterr().err
    (tmp_path / "file").write_text("in the way")
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "file")]) == 2
    assert "error[USAGE_OUTPUT_NOT_WRITABLE]" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"
    long = str(tmp_path / ("x" * 300))  # a name that no file system takes
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", long]) == 2
    assert main(["classify", str(source), "--bundle", long, "--out", str(tmp_path / "out")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "spot.nrrd"]


def test_a_full_memory_is_status_5_and_leaves_nothing(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from MedImgClassifierLib import classify_job

    def full(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(classify_job, "overlay_picture", full)
    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "out")]) == 5
    assert "error[RESOURCE_MEMORY]" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["spot.nrrd"]


def test_a_refusal_cannot_steer_the_terminal() -> None:
    line = Refusal("INPUT_NOT_FOUND", path="a\x1b]0;title\x07\x9b31m\ud800\nb").message()
    assert line.isprintable() and "title" in line


def test_a_terminal_without_the_letters_of_a_path_is_no_failure(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii", write_through=True))
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "结果")]) == 0
    assert b"\\u7ed3\\u679c" in printed.getvalue()


def test_interrupting_is_status_6_and_leaves_nothing(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from MedImgClassifierLib.engine import classifier

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "geometry", interrupted)
    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "out")]) == 6
    assert "error[CANCELLED]" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["spot.nrrd"]


def test_a_failure_while_writing_leaves_earlier_results_whole(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MedImgClassifierLib import classify_job

    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    command = ["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classify_job, "overlay_picture", full_disk)
    assert main(command) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "spot.nrrd"]


def test_a_file_that_cannot_be_replaced_leaves_all_earlier_results(spot_bundle: Path, tmp_path: Path) -> None:
    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    out = tmp_path / "out"
    (out / "results.json").mkdir(parents=True)  # the last but one to be moved, or the last
    (out / "overlay.png").write_text("earlier")
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(out)]) == 2
    assert sorted(path.name for path in out.iterdir()) == ["overlay.png", "results.json"]
    assert (out / "overlay.png").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "spot.nrrd"]


def test_errors_speak_chinese_where_the_locale_does(
    tmp_path: Path, spot_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    main(["classify", str(tmp_path / "x"), "--bundle", str(spot_bundle), "--out", str(tmp_path / "out")])
    assert "不存在" in capsys.readouterr().err


def test_the_answer_speaks_chinese_where_the_locale_does_and_the_files_stay_english(
    answered: tuple,  # type: ignore[type-arg]
    spot_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    source = answered[0].parent / "spot.nrrd"
    assert main(["classify", str(source), "--bundle", str(spot_bundle), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "结果：" in printed and "未校准" in printed and "answer:" not in printed and NOTICE not in printed
    assert "仅供研究使用" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    document = json.loads((tmp_path / "out/results.json").read_text())
    assert document["answer"].isascii() and all(finding["message"].isascii() for finding in document["findings"])


def test_bundles_verify_and_doctor_answer(spot_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(spot_bundle)]) == 0
    checked = capsys.readouterr().out
    assert "ok  model.onnx" in checked and "ok  self-test on onnxruntime, cpu, float32" in checked
    assert "is the first that can run it" in checked
    assert main(["bundles"]) == 0
    listed = capsys.readouterr().out
    assert "body-region" in listed and NOTICE in listed
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert (
        "GPU drivers" in report
        and "onnxruntime" in report
        and "body-region" in report
        and "is the first that can run it" in report
    )


def test_doctor_reports_a_torch_that_does_not_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from MedImgClassifierLib.engine import torch_runtime

    def broken() -> None:
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(torch_runtime, "available_devices", broken)
    assert main(["doctor"]) == 0
    assert "does not work (OSError: libcudart.so" in capsys.readouterr().out


def test_usage_errors_are_status_2() -> None:
    empty = ["classify", "", "--bundle", "b", "--out", "o"], ["classify", "x", "--bundle", "b", "--out", ""]
    for arguments in (
        *empty,
        ["classify"],
        ["classify", "x", "--bundle", "b", "--out", "o", "--batch", "0"],
        ["nonsense"],
        [],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_a_refused_run_leaves_no_new_folder_and_no_file_of_another_run(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MedImgClassifierLib import classify_job

    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    out = tmp_path / "a" / "b" / "out"
    command = ["classify", str(source), "--bundle", str(spot_bundle), "--out", str(out)]
    monkeypatch.setattr(classify_job, "_scene_is_installed", lambda: False)
    assert main(command) == 0
    (out / "scene.mrb").write_text("of an earlier run")
    assert main(command) == 0
    assert {path.name for path in out.iterdir()} == {"results.json", "results.csv", "report.html", "overlay.png"}

    fresh = [*command[:-1], str(tmp_path / "c" / "d" / "out")]
    monkeypatch.setattr(classify_job, "overlay_picture", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(fresh)
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_being_ended_leaves_nothing_behind(spot_bundle: Path, tmp_path: Path) -> None:
    import signal
    import time

    source = save_nrrd(maker.stack_with_spot("axial")[0], tmp_path / "spot.nrrd")
    script = (
        "import sys, time, MedImgClassifierLib.classify_job as job\n"
        "job.overlay_picture = lambda *a: (print('writing', flush=True), time.sleep(60))\n"
        "from MedImgClassifierLib.cli import main\n"
        f"sys.exit(main(['classify', {str(source)!r}, '--bundle', {str(spot_bundle)!r}, '--out', 'out']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None and "writing\n" in iter(run.stdout.readline, "")  # after the table
        time.sleep(0.2)
        run.send_signal(signal.SIGTERM)
        assert run.wait(20) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["spot.nrrd"]


def test_output_into_a_pipe_that_closes_is_no_error(spot_bundle: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"{sys.executable} -m MedImgClassifierLib.cli verify {spot_bundle} | true"
    run = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and run.stderr == ""
