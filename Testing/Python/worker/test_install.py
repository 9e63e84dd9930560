"""Importing a bundle through the worker process: stages, refusals, cancel; nothing blocks, nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.bundle_install import Installed
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.worker import parcels, protocol
from MedImgClassifierLib.worker.client import Client, Installation
from MedImgClassifierLib.worker.process import WorkerProcess

NAME = "bright-spot-1.0.0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bundles are imported to; the worker gets it with its environment."""
    monkeypatch.setenv(resources.USER_FOLDER, str(tmp_path / "导入"))
    return tmp_path / "导入"


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


def until(installation: Installation, seconds: float = 60) -> list[str]:
    """The stages that it went through."""
    stages, end = [installation.stage], time.monotonic() + seconds
    while not installation.poll():
        stages.append(installation.stage)
        assert time.monotonic() < end, f"still in stage {installation.stage}"
        time.sleep(0.002)
    return list(dict.fromkeys([*stages, installation.stage]))


def refusal(installation: Installation) -> Refusal:
    until(installation)
    with pytest.raises(Refusal) as refused:
        installation.result()
    return refused.value


def test_a_bundle_is_imported_in_the_worker_and_classifies(client: Client, spot_bundle: Path, folder: Path) -> None:
    began = time.monotonic()
    installation = client.install(spot_bundle)
    assert time.monotonic() - began < 0.5 and not installation.ended
    stages = until(installation)
    assert installation.result() == Installed(NAME, folder / NAME, already=False)
    order = ["hand over", "start", "read", "check", "self-test", "copy"]
    assert stages == [stage for stage in order if stage in stages] and {"self-test", "copy"} & set(stages)
    voxels = np.random.default_rng(0).integers(0, 500, (3, 64, 64)).astype(np.int16)
    answer = client.classify(Volume.from_matrix(voxels, np.eye(4)), installation.result().path, runtime="onnxruntime")
    assert len(answer.slices) == 3
    again = client.install(spot_bundle)
    until(again)
    assert again.result() == Installed(NAME, folder / NAME, already=True)
    assert client._worker is not None
    deadline = time.monotonic() + 2
    while list(client._worker.folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(client._worker.folder.iterdir()) == []


def test_a_refusal_comes_back_and_leaves_nothing(
    client: Client, spot_bundle: Path, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    (copy / "more.txt").write_text("x")
    refused = refusal(client.install(copy))
    assert refused.code == "BUNDLE_CHANGED" and "more.txt" in refused.message("zh")
    assert refusal(client.install(tmp_path / "none")).code == "BUNDLE_NOT_FOUND"
    assert not folder.exists()
    assert until(client.install(spot_bundle)) and (folder / NAME).is_dir()  # the worker goes on


def test_a_folder_that_cannot_be_written_is_told(client: Client, spot_bundle: Path, folder: Path) -> None:
    folder.write_text("a file in the way")
    assert refusal(client.install(spot_bundle)).code == "RESOURCE_BUNDLE_FOLDER"


def test_a_cancelled_import_leaves_nothing(client: Client, spot_bundle: Path, folder: Path) -> None:
    installation = client.install(spot_bundle)
    installation.cancel()
    assert refusal(installation).code == "CANCELLED"
    time.sleep(0.5)
    assert not folder.exists()
    assert until(client.install(spot_bundle)) and (folder / NAME).is_dir()


def test_a_cancel_that_comes_too_late_is_told_as_what_happened(client: Client, spot_bundle: Path, folder: Path) -> None:
    installation = client.install(spot_bundle)
    end = time.monotonic() + 60
    while not (folder / NAME).is_dir():  # without a look at the messages
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.3)
    installation.cancel()
    until(installation)
    assert installation.result().path == folder / NAME


def test_an_import_and_a_classification_wait_for_each_other(client: Client, spot_bundle: Path) -> None:
    installation = client.install(spot_bundle)
    with pytest.raises(RuntimeError, match="under way"):
        client.start(Volume.from_matrix(np.zeros((1, 8, 8)), np.eye(4)), spot_bundle)
    with pytest.raises(RuntimeError, match="under way"):
        client.install(spot_bundle)
    until(installation)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_worker_that_is_killed_while_it_imports_is_told(client: Client, spot_bundle: Path, folder: Path) -> None:
    installation = client.install(spot_bundle)
    while not (installation._worker.pid and installation.stage != "hand over"):
        assert not installation.poll()
        time.sleep(0.001)
    os.kill(installation._worker.pid, signal.SIGKILL)
    assert refusal(installation).code == "RESOURCE_WORKER_DIED"
    assert resources.imported_bundles() == {}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": "x", "path": 3, "already": true}'])
def test_an_answer_that_is_none_is_told(content: bytes, tmp_path: Path) -> None:
    described = parcels.put(tmp_path, "result1.json", content)
    with pytest.raises(protocol.ProtocolError, match="not an import"):
        parcels.take_installed(tmp_path, described)


def test_a_verb_that_the_worker_does_not_know_is_told(client: Client) -> None:
    class Unknown(Installation):
        VERB = "explode"

    client._worker = WorkerProcess(client._command)
    refused = refusal(Unknown(client._worker, 1, Path("x")))
    assert refused.code == "RESOURCE_WORKER_FAILED" and "explode" in refused.message()
