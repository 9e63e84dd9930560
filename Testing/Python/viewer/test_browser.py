"""The viewer in a real browser: what a reader does, and what is seen of it."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from browser_driver import SPACING, SPOT, Server, Window, changed, write_volume

Start = Callable[..., Server]
Open = Callable[..., Window]


AS_AT_FIRST = {
    "overlay_visible": True,
    "overlay_opacity": 0.5,
    "overlay_threshold": 0.25,
    "color_map": "inferno",
    "legend_visible": False,
    "evidence_label": "bright",
    "language": "en",
    "theme": "dark",
    "layout": "four",
    "sort_by": [],
}


@pytest.fixture
def seen(spot_server: Server, window: Open) -> Window:
    """A new page of a viewer with a classified volume; whatever another test has chosen there is as at first."""
    shown = window(spot_server)
    shown.wait(lambda: bool(shown.page.locator(".answer.strong").count()))
    for name, value in AS_AT_FIRST.items():
        shown.page.evaluate("([name, value]) => window.trame.state.set(name, value)", [name, value])
    for name in ("Red", "Green", "Yellow"):
        shown.page.evaluate("(name) => window.trame.trigger('fit', [name])", name)
    return shown


def upload(window: Window, *files: Path, folder: bool = False) -> None:
    button = "Open folder..." if folder else "Open file..."
    with window.page.expect_file_chooser() as chooser:
        window.page.get_by_role("button", name=button).click()
    chooser.value.set_files([str(file) for file in files])


def image_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is not black: the whole volume, whose voxels all are grey or bright."""
    rows, columns = np.nonzero(picture.sum(axis=-1) > 30)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def place_of_spot(box: tuple[int, int, int, int]) -> tuple[float, float]:
    """(x, y) of SPOT in an axial view: row 0 is at the top, and an identity direction has i to the right (LPS)."""
    left, top, right, bottom = box
    return left + (SPOT[0] + 0.5) / 48 * (right - left), top + (SPOT[1] + 0.5) / 64 * (bottom - top)


def row(window: Window) -> int:
    return int(window.page.locator(".plot svg").get_attribute("aria-valuenow")) - 1


# --- load, classify, cancel


def test_volume_is_shown_and_classified(start: Start, window: Open, spot_volume: Path) -> None:
    seen = window(start(spot_volume, "--bundle", "bright-spot-1.0.0"))
    seen.classify()
    assert "bright in 6 of 6 slices" in seen.text(".answer")
    assert seen.page.locator(".table tbody tr[data-row]").count() == 6
    assert seen.page.locator(".plot .line").count() == 2
    assert "Tests." in seen.text(".panel")  # the model's intended use
    seen.page.locator(".overlay-visible input").click()
    left, top, right, bottom = image_box(seen.picture("Red"))
    wanted = 48 * SPACING[0] / (64 * SPACING[1])
    assert (right - left) / (bottom - top) == pytest.approx(wanted, rel=0.03)


def test_file_is_loaded_by_the_file_dialog(start: Start, window: Open, spot_volume: Path) -> None:
    page = window(start())
    assert page.page.locator(".classify").is_disabled()
    assert "Choose an input volume" in page.text(".why")
    upload(page, spot_volume)
    page.wait(lambda: "spot.nii.gz" in page.text(".volume-image"))
    assert page.page.locator(".classify").is_enabled()


def test_file_is_loaded_by_dropping_it(start: Start, window: Open, spot_volume: Path) -> None:
    page = window(start())
    page.page.evaluate(
        """([name, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            document.querySelector(".drop").dispatchEvent(
                new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        ["dropped.nii.gz", base64.b64encode(spot_volume.read_bytes()).decode()],
    )
    page.wait(lambda: "dropped.nii.gz" in page.text(".volume-image"))


def test_dicom_folder_offers_its_series(start: Start, window: Open, tmp_path: Path) -> None:
    folder = dicom_study(tmp_path / "study", ("first", "second"))
    page = window(start())
    upload(page, folder, folder=True)
    page.page.locator(".v-dialog .v-list-item", has_text="second").click()
    page.wait(lambda: "second" in page.text(".volume-image"))


def test_zip_of_a_dicom_folder(start: Start, window: Open, tmp_path: Path) -> None:
    folder = dicom_study(tmp_path / "study", ("only",))
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as packed:
        for file in folder.rglob("*.dcm"):
            packed.write(file, file.relative_to(tmp_path))
    page = window(start())
    upload(page, tmp_path / "study.zip")
    page.wait(lambda: "only" in page.text(".volume-image"))


def test_cancel_leaves_no_result(start: Start, window: Open, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 1000, (300, 160, 160), dtype=np.int16)
    page = window(start(write_volume(tmp_path / "long.nii.gz", voxels), "--bundle", "body-region"))
    page.press()
    page.wait(lambda: page.page.locator(".progress", has_text="Classifying").count() == 1)
    assert page.text(".classify") == "Cancel"
    page.page.locator(".classify").click()
    page.wait(lambda: page.text(".classify") == "Classify", seconds=5)
    assert "No result yet" in page.text(".answer")
    assert page.page.locator(".plot").count() == 0
    assert "Canceled" in page.text(".v-snackbar")


# --- jump


def test_click_in_the_plot_brings_the_slice_into_the_views(seen: Window) -> None:
    seen.page.locator(f".table tr[data-row='{SPOT[2]}']").click()
    seen.wait(lambda: row(seen) == SPOT[2])
    before = seen.picture("Red")
    box = seen.page.locator(".plot svg").bounding_box()
    seen.page.mouse.click(box["x"] + box["width"] * 0.5 / 6, box["y"] + box["height"] / 2)
    seen.wait(lambda: row(seen) == 0)
    seen.picture("Red", unlike=before)


def test_scrolling_a_view_moves_plot_and_table(seen: Window) -> None:
    slider = seen.page.locator(".view.Red .offset [role=slider]")
    slider.focus()
    slider.press("End")
    seen.wait(lambda: row(seen) == 5)
    slider.press("ArrowLeft")
    seen.wait(lambda: row(seen) == 4)
    seen.wait(lambda: seen.page.locator("tr.shown").get_attribute("data-row") == "4")


def test_wheel_over_a_view_scrolls_it(seen: Window) -> None:
    box = seen.page.locator(".view.Red").bounding_box()
    seen.page.locator(f".table tr[data-row='{SPOT[2]}']").click()
    seen.wait(lambda: row(seen) == SPOT[2])
    seen.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.page.mouse.wheel(0, 120)
    seen.wait(lambda: row(seen) != SPOT[2])


def test_keys_move_through_the_plot(seen: Window) -> None:
    plot = seen.page.locator(".plot svg")
    plot.focus()
    plot.press("Home")
    seen.wait(lambda: row(seen) == 0)
    plot.press("ArrowRight")
    seen.wait(lambda: row(seen) == 1)
    plot.press("End")
    seen.wait(lambda: row(seen) == 5)


def test_row_of_a_sorted_table_goes_to_its_own_slice(seen: Window) -> None:
    header, rows = seen.page.locator(".table th", has_text="Slice"), seen.page.locator(".table tbody tr[data-row]")
    header.click()
    header.click()  # the last first
    seen.wait(lambda: rows.first.get_attribute("data-row") == "5")
    rows.nth(1).click()
    seen.wait(lambda: row(seen) == 4)


def test_key_slices_are_stepped_through(seen: Window) -> None:
    places = [line.get_attribute("x1") for line in seen.page.locator(".plot .key").all()]
    keys = sorted(round(float(place) * 6 / 1000 - 0.5) for place in places)
    assert len(keys) > 1
    seen.page.locator(".plot svg").press("Home")
    seen.wait(lambda: row(seen) == 0)
    for key in keys[1:] if keys[0] == 0 else keys:
        seen.page.keyboard.press("Control+Alt+PageDown")
        seen.wait(lambda key=key: row(seen) == key)
        assert "key slice" in seen.text(".current")
    seen.page.locator(".previous-key").click()
    seen.wait(lambda: row(seen) == keys[-2])


def test_other_volume_takes_no_evidence_and_gives_it_back(
    start: Start, window: Open, spot_volume: Path, tmp_path: Path
) -> None:
    """Two volumes of one name: the second is called otherwise; what is chosen is what is seen and classified."""
    page = window(start(spot_volume, "--bundle", "bright-spot-1.0.0", "--classify"))
    page.wait(lambda: bool(page.page.locator(".answer.strong").count()))
    page.page.locator(f".table tr[data-row='{SPOT[2]}']").click()
    page.wait(lambda: row(page) == SPOT[2])
    upload(page, spot_volume)
    page.wait(lambda: "spot.nii.gz_1" in page.text(".volume-image"))
    page.wait(lambda: "not in the slice views" in page.text(".identity"))
    bare = page.picture("Red")
    assert np.ptp(bare, axis=-1).max() < 20  # grey: no evidence of the other
    assert page.page.locator(".view-text").count() == 0
    page.page.locator(".next-key").click()
    page.wait(lambda: "spot.nii.gz_1" not in page.text(".volume-image"))
    colored = page.picture("Red", unlike=bare)
    assert (np.ptp(colored, axis=-1) > 40).mean() > 0.02
    page.choose(".volume-image", "spot.nii.gz_1")
    assert np.ptp(page.picture("Red", unlike=colored), axis=-1).max() < 20


# --- evidence


def test_overlay_lies_where_the_evidence_is(seen: Window) -> None:
    seen.choose(".evidence-class", "bright")
    seen.page.locator(f".table tr[data-row='{SPOT[2]}']").click()
    seen.wait(lambda: row(seen) == SPOT[2])
    threshold(seen, 0.9)
    shown = seen.picture("Red")
    seen.page.locator(".overlay-visible input").click()
    bare = seen.picture("Red", unlike=shown)
    rows, columns = np.nonzero(changed(shown, bare))
    x, y = place_of_spot(image_box(bare))
    cell = (image_box(bare)[3] - image_box(bare)[1]) / 8
    assert len(rows) > 30
    assert abs(columns.mean() - x) < cell and abs(rows.mean() - y) < cell
    assert np.hypot(columns - x, rows - y).max() < 2 * cell


def test_threshold_and_opacity(seen: Window) -> None:
    seen.choose(".evidence-class", "bright")
    seen.page.locator(f".table tr[data-row='{SPOT[2]}']").click()
    threshold(seen, 0.1)
    wide = seen.picture("Red")
    threshold(seen, 0.9)
    narrow = seen.picture("Red", unlike=wide)
    seen.page.locator(".overlay-visible input").click()
    bare = seen.picture("Red", unlike=narrow)
    assert changed(wide, bare).sum() > 1.5 * changed(narrow, bare).sum() > 0
    assert not (changed(narrow, bare) & ~changed(wide, bare)).any()
    seen.page.locator(".overlay-visible input").click()
    threshold(seen, 0.1)
    seen.picture("Red", unlike=bare)
    slide(seen, ".opacity", 0.1)
    faint = seen.picture("Red", unlike=wide)
    assert 0 < np.abs(faint - bare).sum() < 0.6 * np.abs(wide - bare).sum()


def test_colors_and_legend(seen: Window) -> None:
    seen.choose(".evidence-class", "bright")
    seen.page.locator(f".table tr[data-row='{SPOT[2]}']").click()
    first = seen.picture("Red")
    seen.choose(".color-map", "Blue only")
    blue = seen.picture("Red", unlike=first)
    seen.page.locator(".legend-visible input").click()
    seen.picture("Red", unlike=blue)


def slide(window: Window, selector: str, value: float) -> None:
    """By the keyboard, to a multiple of 0.05."""
    slider = window.page.locator(f"{selector} [role=slider]")
    slider.focus()
    slider.press("Home")
    for _ in range(round(value / 0.05)):
        slider.press("ArrowRight")
    window.wait(lambda: abs(float(slider.get_attribute("aria-valuenow")) - value) < 0.01)


def threshold(window: Window, value: float) -> None:
    slide(window, ".threshold", value)


# --- review and files


def test_review_is_kept(seen: Window) -> None:
    assert seen.page.locator(".save-review").is_disabled()
    seen.page.locator(".verdict button", has_text="Disagree").click()
    seen.page.locator(".corrected input").fill("dim")
    seen.page.locator(".comment textarea").first.fill("a lamp")
    seen.page.locator(".save-review").click()
    seen.wait(lambda: "Saved" in seen.text(".review-note"))
    seen.page.reload()
    seen.page.wait_for_selector(".review-note")
    assert seen.page.locator(".comment textarea").first.input_value() == "a lamp"
    assert seen.page.locator(".corrected input").input_value() == "dim"


def test_result_is_downloaded_in_every_form(seen: Window, tmp_path: Path) -> None:
    files = {}
    for kind in ("csv", "json", "html", "mrb"):
        with seen.page.expect_download() as download:
            seen.page.locator(f".download-{kind}").click()
        files[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[kind])
        assert files[kind].name.endswith(f"bright-spot.{kind}") and "spot" in files[kind].name
    assert len(list(csv.DictReader(files["csv"].open(encoding="utf-8")))) == 6
    assert json.loads(files["json"].read_text("utf-8"))["bundle"]["id"] == "bright-spot"
    assert "data:image/png;base64," in files["html"].read_text("utf-8")
    with zipfile.ZipFile(files["mrb"]) as scene:
        assert any(name.endswith(".mrml") for name in scene.namelist())


# --- languages and looks


def test_page_speaks_chinese_and_back(seen: Window) -> None:
    seen.page.get_by_role("button", name="Language").click()
    seen.wait(lambda: "分类" in seen.text(".classify"))
    assert "未校准" in seen.text(".answer")
    assert "切片" in seen.text(".table thead")
    seen.page.locator(".v-app-bar button", has_text="English").click()
    seen.wait(lambda: seen.text(".classify") == "Classify")


def test_dark_and_light(seen: Window) -> None:
    def background() -> int:
        color = seen.page.locator(".panel").evaluate("e => getComputedStyle(e).backgroundColor")
        return sum(int(part) for part in color[4:-1].split(",")[:3])

    assert background() < 200
    seen.page.get_by_role("button", name="Light or dark").click()
    seen.wait(lambda: background() > 600)


@pytest.mark.parametrize("size", [(1366, 768), (1024, 768), (820, 1180)], ids=["laptop", "small", "tablet"])
def test_nothing_runs_out_of_the_window(start: Start, window: Open, spot_volume: Path, size: tuple[int, int]) -> None:
    server = start(spot_volume, "--bundle", "bright-spot-1.0.0", "--classify")
    shown = window(server, viewport={"width": size[0], "height": size[1]})
    shown.page.wait_for_selector(".plot")
    for selector in (".view.Red", ".view.ThreeD", ".plot svg", ".table"):
        box = shown.page.locator(selector).bounding_box()
        assert box["width"] > 150 and box["height"] > 60, selector
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0] + 1, selector
        assert box["y"] >= 0 and box["y"] + box["height"] <= size[1] + 1, selector
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        seen = "([[x, y], selector]) => !!document.elementFromPoint(x, y).closest(selector)"
        assert shown.page.evaluate(seen, [middle, selector]), f"{selector} is covered"
    assert shown.page.locator(".notice").is_visible()


# --- bad input


def test_bad_file_is_refused_by_its_name(start: Start, window: Open, tmp_path: Path) -> None:
    (tmp_path / "notes.nii.gz").write_bytes(b"this is no image")
    page = window(start())
    upload(page, tmp_path / "notes.nii.gz")
    page.wait(lambda: "error[INPUT_" in page.text(".message"))
    assert "notes.nii.gz" in page.text(".message") and "/tmp" not in page.text(".message")
    assert page.page.locator(".classify").is_disabled()


# --- several pages, restarts, strangers


def test_wrong_token_is_refused(start: Start, window: Open) -> None:
    server = start()
    stranger = window()
    for address in (server.origin, f"{server.origin}/?token=guessed"):
        answer = stranger.page.goto(address)
        assert answer.status == 403
        assert stranger.page.locator(".classify").count() == 0
    stranger.forgive("403")  # the browser tells of a 403 itself


def test_second_tab_may_take_over(seen: Window) -> None:
    seen.forgive("")  # the first tab loses its connection
    second = seen.page.context.new_page()
    answer = second.goto(seen.page.url)
    assert answer.status == 409
    second.get_by_role("button").click()
    second.wait_for_selector(".answer")
    seen.page.wait_for_selector(".answer", state="detached")  # nothing of a patient stays in the first
    assert "slices" in second.locator(".answer").inner_text()
    seen.page.wait_for_timeout(500)


def test_reload_keeps_everything(seen: Window) -> None:
    answer = seen.text(".answer")
    seen.page.reload()
    seen.page.wait_for_selector(".answer.strong")
    assert seen.text(".answer") == answer
    assert changed(seen.picture("Red"), np.zeros(3, int)).mean() > 0.05  # the views are drawn again


def test_server_starts_again_on_the_same_port(start: Start, window: Open) -> None:
    first = start()
    page = window(first)
    port = first.origin.rpartition(":")[2]
    page.forgive("")  # whatever a page says whose server has gone
    assert first.stop() == 0
    second = start("--port", port)
    assert page.page.goto(first.address).status == 403  # the token of the first is worth nothing
    assert window(second).page.locator(".classify").is_visible()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["ctrl-c", "end", "hang-up"])
def test_nothing_of_a_patient_stays_behind(start: Start, window: Open, tmp_path: Path, how: signal.Signals) -> None:
    """Files were sent, and the question which series stands there: the viewer still has them."""
    study, temporary = dicom_study(tmp_path / "study", ("first", "second")), tmp_path / "temporary"
    temporary.mkdir()
    server = start(TMPDIR=str(temporary))
    page = window(server)
    upload(page, study, folder=True)
    page.page.wait_for_selector(".v-dialog .v-list-item")
    assert any(temporary.rglob("*.dcm"))
    assert server.stop(how) == 0
    assert list(temporary.iterdir()) == []
    page.forgive("")  # of the lost connection


def test_page_that_was_left_while_sending_blocks_nothing(seen: Window) -> None:
    seen.page.evaluate("window.trame.state.set('upload', {percent: 3})")
    seen.page.wait_for_selector(".upload")
    seen.page.reload()
    seen.page.wait_for_selector(".answer")
    seen.wait(lambda: seen.page.locator(".upload").count() == 0)
    assert seen.page.get_by_role("button", name="Open file...").is_enabled()


def test_port_that_is_taken_is_told(start: Start) -> None:
    first = start()
    port = first.origin.rpartition(":")[2]
    with pytest.raises(AssertionError, match=r"error\[USAGE_PORT\]"):
        start("--port", port)


def test_root_is_all_that_can_be_opened(start: Start, window: Open, spot_volume: Path, tmp_path: Path) -> None:
    inside = tmp_path / "root" / "inside"
    inside.mkdir(parents=True)
    shutil.copy(spot_volume, inside / "spot.nii.gz")
    (tmp_path / "root" / "out.nii.gz").symlink_to("/etc/passwd")
    page = window(start("--root", tmp_path / "root"))
    page.page.get_by_role("button", name="On the server").click()
    entries = page.page.locator(".v-dialog .v-list-item")
    page.wait(lambda: entries.count() == 1)
    assert entries.first.inner_text() == "inside"
    page.page.evaluate("window.trame.trigger('open', ['../../../etc/passwd'])")
    page.wait(lambda: "error[INPUT_NOT_FOUND]" in page.text(".message"))
    page.page.evaluate("window.trame.trigger('browse', [''])")
    entries.first.click()
    page.page.locator(".v-dialog .v-list-item", has_text="spot.nii.gz").click()
    page.wait(lambda: "spot.nii.gz" in page.text(".volume-image"))


# --- made data


def dicom_study(folder: Path, descriptions: tuple[str, ...]) -> Path:
    """A series of 4 slices of 32 x 32 for each description, in a folder of its own."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    for description in descriptions:
        series = generate_uid()
        (folder / description).mkdir(parents=True)
        for k in range(4):
            image = Dataset()
            image.SOPClassUID, image.SOPInstanceUID, image.SeriesInstanceUID = MRImageStorage, generate_uid(), series
            image.Modality, image.SeriesDescription, image.InstanceNumber = "MR", description, k + 1
            image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 3 * k], [1, 0, 0, 0, 1, 0]
            image.PixelSpacing, image.SliceThickness = [1, 1], 3
            image.Rows = image.Columns = 32
            image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
            image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
            image.PixelData = np.random.default_rng(k).integers(0, 900, (32, 32), dtype=np.uint16).tobytes()
            image.file_meta = FileMetaDataset()
            image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            image.file_meta.MediaStorageSOPClassUID = MRImageStorage
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.save_as(folder / description / f"{k}.dcm", enforce_file_format=True)
    return folder
