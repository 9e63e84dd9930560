"""A bundle is loaded only when it is whole, valid and its maker's; nothing in it is executed."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, bundle_files, bundle_weights
from MedImgClassifierLib.engine.errors import Refusal


@pytest.fixture
def copy(spot_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(spot_bundle, tmp_path / "copy"))


def refusal_of(path: Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        bundle.load(path)
    assert caught.value.exit_status == 4
    assert str(path) in str(caught.value)
    return caught.value


def edit_manifest(folder: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_was_written_is_what_is_loaded(spot_bundle: Path) -> None:
    loaded = bundle.load(spot_bundle)
    assert loaded.labels == maker.LABELS
    assert loaded.spec == maker.SPEC
    assert loaded.temperature is None
    assert loaded.network_info.evidence == "closed_form"
    assert loaded.head.weight[1, 0] == 1000


@pytest.mark.parametrize("name", ["weights.safetensors", "selftest/selftest.safetensors", "model_card.md"])
def test_any_changed_byte_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    for position in np.random.default_rng(0).integers(len(content), size=40):
        content[position] ^= 1
        (copy / name).write_bytes(content)
        assert refusal_of(copy).code == "BUNDLE_CHANGED"
        content[position] ^= 1


def test_a_changed_manifest_is_refused_or_shows_in_its_hash(copy: Path) -> None:
    before = bundle.load(copy).manifest_sha256
    edit_manifest(copy, lambda m: m.update(intended_use="Diagnosis."))
    assert bundle.load(copy).manifest_sha256 != before
    edit_manifest(copy, lambda m: m.update(research_only=False))
    assert refusal_of(copy).code == "BUNDLE_MANIFEST"


def test_missing_and_additional_files_are_refused(copy: Path) -> None:
    (copy / "run.py").write_text("print('no')")
    assert "run.py" in str(refusal_of(copy))
    (copy / "run.py").unlink()
    (copy / "model_card.md").unlink()
    assert "model_card.md" in str(refusal_of(copy))


def test_links_are_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes((copy / "model_card.md").read_bytes())
    (copy / "model_card.md").unlink()
    (copy / "model_card.md").symlink_to(tmp_path / "secret")
    assert refusal_of(copy).code == "BUNDLE_CHANGED"


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 1, "id": 2}', '{"id": NaN}', '{"id": 1e999}', f'{{"id": {10**400}}}', '{"id": "\\ud800"}',
        "[" * 100_000, "not json", "\xff",
    ],
    ids=["duplicate key", "NaN", "infinite", "huge", "half a character", "deep", "text", "encoding"],
)  # fmt: skip
def test_manifests_that_parsers_read_differently_are_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    refused = refusal_of(copy)
    assert refused.code == "BUNDLE_MANIFEST" and refused.facts["where"] == "its text"  # before any schema


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format_version=2),
        lambda m: m.update(surprise=1),
        lambda m: m.pop("intended_use"),
        lambda m: m["input"]["intensity"].append({"op": "eval", "code": "1"}),
        lambda m: m["files"].update({"../../evil": {"bytes": 0, "sha256": "0" * 64}}),
        lambda m: m["labels"].pop(),
        lambda m: m["labels"][0].update(name=m["labels"][1]["name"]),
        lambda m: m.update(calibration={"slice": {"method": "temperature", "temperature": 1e-320, "groups": 9}}),
        lambda m: m["members"][0]["encoders"]["image"]["network"]["options"].update(norm="none"),
        lambda m: m["members"][0]["encoders"]["image"]["network"]["options"].update(norm=["group"]),
        lambda m: m["members"][0]["encoders"]["image"]["network"]["options"].update(stem="small"),
    ],
    ids=[
        "version",
        "unknown key",
        "missing key",
        "unknown operation",
        "escaping name",
        "one label",
        "labels alike",
        "cold",
        "unknown word",
        "no word",
        "option of another network",
    ],
)
def test_manifests_outside_the_schema_are_refused(copy: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    edit_manifest(copy, change)
    assert refusal_of(copy).code == "BUNDLE_MANIFEST"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["members"].append(m["members"][0]),
        lambda m: m.update(tta=["flip_horizontal"]),
        lambda m: m["members"][0]["encoders"]["image"]["network"].update(name="os.system"),
        lambda m: m.update(aggregation={"name": "mean", "parameters": {}}),
        lambda m: m["task"].update(kind="multilabel"),
    ],
    ids=["ensemble", "tta", "unknown network", "aggregation", "multilabel"],
)
def test_what_this_version_does_not_compute_is_refused_not_left_out(copy: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    edit_manifest(copy, change)
    assert refusal_of(copy).code == "BUNDLE_UNSUPPORTED"


def test_more_labels_than_scores_are_refused(copy: Path) -> None:
    edit_manifest(copy, lambda m: m["labels"].append({"name": "third", "code": None}))
    assert refusal_of(copy).code == "BUNDLE_WEIGHTS"


def test_a_zip_is_read_without_unpacking(spot_bundle: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", spot_bundle))
    assert bundle.load(archive).id == "bright-spot"
    assert sorted(tmp_path.iterdir()) == [archive]


def zip_with(spot_bundle: Path, path: Path, add: Callable[[zipfile.ZipFile], None]) -> Path:
    shutil.make_archive(str(path.with_suffix("")), "zip", spot_bundle)
    with zipfile.ZipFile(path, "a") as archive:
        add(archive)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "add",
    [
        lambda z: z.writestr("../evil.txt", "x"),
        lambda z: z.writestr("/evil.txt", "x"),
        lambda z: z.writestr("manifest.json", "{}"),
        lambda z: z.writestr("bomb", bytes(10_000_000), compress_type=zipfile.ZIP_DEFLATED),
        lambda z: z.writestr("rare", "x", compress_type=zipfile.ZIP_LZMA),
        lambda z: [z.writestr(f"f{n}", "x") for n in range(bundle_files.MAX_FILES)],
    ],
    ids=["escape", "absolute", "duplicate", "bomb", "rare packing", "too many"],
)
def test_hostile_zips_are_refused(spot_bundle: Path, tmp_path: Path, add: Callable[[zipfile.ZipFile], None]) -> None:
    refused = refusal_of(zip_with(spot_bundle, tmp_path / "hostile.zip", add))
    assert refused.code == "BUNDLE_CHANGED"


def test_any_changed_byte_of_packed_files_is_refused(spot_bundle: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", spot_bundle))
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as packed:
        infos = [info for info in packed.infolist() if not info.is_dir()]
    for info in infos:
        start = info.header_offset + 30 + len(info.filename)
        for position in range(start, start + info.compress_size, max(1, info.compress_size // 20)):
            content[position] ^= 0xFF
            archive.write_bytes(content)
            assert refusal_of(archive).code == "BUNDLE_CHANGED"
            content[position] ^= 0xFF


def test_a_zip_with_a_name_that_is_no_text_is_refused(spot_bundle: Path, tmp_path: Path) -> None:
    archive = zip_with(spot_bundle, tmp_path / "named.zip", lambda z: z.writestr("é.txt", "x"))
    archive.write_bytes(archive.read_bytes().replace("é.txt".encode(), b"\xff\xfe.txt"))
    assert refusal_of(archive).code == "BUNDLE_CHANGED"


def test_files_that_may_not_be_read_are_a_refusal(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    refused = refusal_of(copy)
    assert refused.code == "BUNDLE_NOT_FOUND" and "Permission denied" in str(refused)


def test_weights_of_a_kind_that_numpy_has_not_are_named_as_such(copy: Path) -> None:
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(2)
    (copy / "weights.safetensors").write_bytes(content)
    edit_manifest(copy, lambda m: m["files"].update({"weights.safetensors": bundle_files.describe(content)}))
    refused = refusal_of(copy)
    assert refused.code == "BUNDLE_WEIGHTS" and "F8_E4M3" in str(refused)


@pytest.mark.parametrize("make", ["missing", "empty", "text"])
def test_what_is_not_a_bundle_says_so(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x"
    if make == "empty":
        path.mkdir()
    elif make == "text":
        path.write_text("hello")
    assert refusal_of(path).code == "BUNDLE_NOT_FOUND"


def test_a_bundle_that_would_not_load_is_not_written_and_spares_the_old_one(copy: Path) -> None:
    with pytest.raises(Refusal):
        maker.write(copy, licence="")
    assert bundle.load(copy).manifest["licence"] == "Apache-2.0"
    assert [entry.name for entry in copy.parent.iterdir()] == ["copy"]


def test_arrays_in_any_memory_order_come_back_as_they_were(tmp_path: Path) -> None:
    """safetensors writes memory as it lies; weights of a channels-last network must not come back scrambled."""
    scrambled = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    (saved,) = bundle_weights.tensors(tmp_path, {"w": bundle_weights.saved({"a": scrambled})}, "w", "x").values()
    np.testing.assert_array_equal(saved, scrambled)
