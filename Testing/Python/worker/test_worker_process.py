"""The worker process: the same answers, cancelled, killed, silent, noisy, orphaned; the face is told and goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.volume import Case, Source, Volume
from MedImgClassifierLib.worker import client as clients
from MedImgClassifierLib.worker import parcels, process, protocol
from MedImgClassifierLib.worker.client import Client, Run
from MedImgClassifierLib.worker.session import Session

SETTINGS = {"device": "cpu", "runtime": "onnxruntime", "threads": 1}
posix = pytest.mark.skipif(os.name != "posix", reason="signals and sessions of POSIX")


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Client]:
    """A client whose worker says hello and then does what the body of a script says."""

    def make(body: str) -> Client:
        hello = protocol.encode("hello", version="0", verbs=[], pid=1).decode()
        script = tmp_path / "fake_worker.py"
        script.write_text(
            "import json, os, sys, time\n"
            f"sys.stdout.write({hello!r}.replace('\"pid\": 1', f'\"pid\": {{os.getpid()}}'))\nsys.stdout.flush()\n"
            + textwrap.dedent(body),
            encoding="utf-8",
        )
        monkeypatch.setattr(process, "MAIN", script)
        made = Client()
        made_clients.append(made)
        return made

    made_clients: list[Client] = []
    yield make  # type: ignore[misc]
    for made in made_clients:
        made.close()


def volume(slices: int = 3) -> Volume:
    voxels = np.random.default_rng(0).integers(0, 500, (slices, 64, 64)).astype(np.int16)
    return Volume.from_matrix(voxels, np.eye(4))


def until(run: Run, seconds: float = 30) -> Run:
    end = time.monotonic() + seconds
    while not run.poll():
        assert time.monotonic() < end, f"still in stage {run.stage}"
        time.sleep(0.01)
    return run


def refusal(run: Run, seconds: float = 30) -> Refusal:
    with pytest.raises(Refusal) as refused:
        until(run, seconds).result()
    return refused.value


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie, which its parent has not asked about, does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def gone(pid: int, seconds: float = 2) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def busy(run: Run) -> None:
    """Wait until the worker classifies."""
    end = time.monotonic() + 30
    while run.stage != "classify":
        assert not run.poll() and time.monotonic() < end
        time.sleep(0.005)


def said_hello(run: Run) -> int:
    """Wait until the worker has said hello; its process."""
    while not run._worker.pid:
        assert not run.poll()
        time.sleep(0.005)
    return run._worker.pid


def test_a_worker_answers_as_the_engine_in_this_process(client: Client, spot_bundle: Path) -> None:
    stack = maker.stack_with_spot("tilted")[0]
    seen: list[tuple[str, float]] = []
    there = client.classify(stack, spot_bundle, progress=lambda *at: seen.append(at), **SETTINGS).to_json()
    here = Session().classify(stack, spot_bundle, **SETTINGS).to_json()
    for document in (there, here):
        for changing in ("seconds", "started"):
            document["provenance"].pop(changing)
    assert there == here
    stages = [stage for stage, _ in seen]
    assert stages == sorted(stages, key=["hand over", "start", "read", "load", "prepare", "classify"].index)


def test_the_second_run_finds_worker_and_bundle_warm_and_no_file_stays(client: Client, spot_bundle: Path) -> None:
    client.classify(volume(), spot_bundle, **SETTINGS)
    assert client._worker is not None
    pid, folder = client._worker.pid, client._worker.folder
    run = until(client.start(volume(), spot_bundle, **SETTINGS))
    assert run.result().slices.logits.shape == (3, 2)
    assert client._worker.pid == pid
    end = time.monotonic() + 2
    while list(folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert list(folder.iterdir()) == []
    client.close()
    assert not folder.exists() and gone(pid)


def test_refusals_of_the_engine_come_back_with_their_facts(client: Client, spot_bundle: Path, tmp_path: Path) -> None:
    refused = refusal(client.start(volume(), tmp_path / "none", **SETTINGS))
    assert refused.code.startswith("BUNDLE_") and str(tmp_path / "none") in refused.message("zh")
    refused = refusal(client.start(volume(), spot_bundle, **{**SETTINGS, "precision": "int8"}))
    assert refused.code == "USAGE_PRECISION_REFUSED"
    assert len(client.classify(volume(), spot_bundle, **SETTINGS).slices) == 3  # the worker goes on


def test_a_bundle_that_changes_or_vanishes_is_refused(client: Client, spot_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    client.classify(volume(), copy, **SETTINGS)
    weights = copy / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(copy / "manifest.json", (2, 2))
    assert refusal(client.start(volume(), copy, **SETTINGS)).code == "BUNDLE_CHANGED"
    shutil.rmtree(copy)
    assert refusal(client.start(volume(), copy, **SETTINGS)).code.startswith("BUNDLE_")


def test_a_bundle_removed_while_it_classifies_is_not_missed(client: Client, spot_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    run = client.start(volume(500), copy, batch=1, **SETTINGS)
    busy(run)
    shutil.rmtree(copy)
    assert len(until(run).result().slices) == 500


def test_paths_in_chinese_and_with_blanks_are_nothing_special(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "模型 и данные" / ("long " * 20)
    place.mkdir(parents=True)
    shutil.copytree(spot_bundle, place / "包")
    monkeypatch.setattr("tempfile.tempdir", str(place))
    client = Client()
    try:
        assert len(client.classify(volume(), place / "包", **SETTINGS).slices) == 3
    finally:
        client.close()
    assert [path.name for path in place.iterdir()] == ["包"]


def test_a_cancelled_run_ends_within_a_second_and_the_worker_lives(client: Client, spot_bundle: Path) -> None:
    client.classify(volume(), spot_bundle, **SETTINGS)
    assert client._worker is not None
    pid = client._worker.pid
    run = client.start(volume(3000), spot_bundle, batch=1, **SETTINGS)
    busy(run)
    assert run.seconds_left is None or run.seconds_left > 0
    run.cancel()
    assert refusal(run, 1).code == "CANCELLED"
    assert len(client.classify(volume(), spot_bundle, **SETTINGS).slices) == 3
    assert client._worker.pid == pid


def test_what_progress_raises_ends_the_run(client: Client, spot_bundle: Path) -> None:
    def cancel(stage: str, fraction: float) -> None:
        if stage == "classify":
            raise Refusal("CANCELLED")

    with pytest.raises(Refusal, match="CANCELLED"):
        client.classify(volume(3000), spot_bundle, progress=cancel, batch=1, **SETTINGS)
    assert client._run is not None and client._run.ended


def test_time_left_is_told_while_it_classifies(client: Client, spot_bundle: Path) -> None:
    run = client.start(volume(2000), spot_bundle, batch=1, **SETTINGS)
    left = []
    while not run.poll():
        if run.stage == "classify" and run.seconds_left is not None:
            left.append(run.seconds_left)
        time.sleep(0.01)
    assert len(left) > 3 and min(left) < max(left) and min(left) >= 0


@posix
def test_a_killed_worker_is_told_and_the_next_run_starts_another(client: Client, spot_bundle: Path) -> None:
    run = client.start(volume(3000), spot_bundle, batch=1, **SETTINGS)
    busy(run)
    assert client._worker is not None
    folder = client._worker.folder
    os.kill(client._worker.pid, signal.SIGKILL)
    refused = refusal(run, 5)
    assert refused.code == "RESOURCE_WORKER_DIED" and "signal 9" in refused.message()
    assert not folder.exists()
    assert len(client.classify(volume(), spot_bundle, **SETTINGS).slices) == 3


def test_a_worker_that_crashes_is_quoted(fake: Callable[[str], Client], spot_bundle: Path) -> None:
    client = fake("sys.stdin.readline(); sys.stderr.write('first\\nout of luck\\n'); sys.exit(3)")
    refused = refusal(client.start(volume(), spot_bundle))
    assert refused.code == "RESOURCE_WORKER_DIED" and "exit status 3: out of luck" in refused.message()


def test_a_worker_that_heeds_no_cancel_is_ended(fake: Callable[[str], Client], spot_bundle: Path) -> None:
    client = fake("time.sleep(60)")
    run = client.start(volume(), spot_bundle)
    pid = said_hello(run)
    run.cancel()
    assert refusal(run, 1.5).code == "CANCELLED"
    assert gone(pid)


def test_a_worker_that_never_answers_is_ended(
    fake: Callable[[str], Client], spot_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "SILENCE_S", 0.5)
    refused = refusal(fake("time.sleep(60)").start(volume(), spot_bundle), 5)
    assert refused.code == "RESOURCE_WORKER_SILENT"


def test_a_worker_that_is_busy_for_long_is_not_taken_for_hung(
    fake: Callable[[str], Client], spot_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "SILENCE_S", 2.0)
    library = Path(process.__file__).parents[2]
    client = fake(f"""
        sys.path.insert(0, {str(library)!r})
        from pathlib import Path
        from MedImgClassifierLib.engine.errors import Refusal
        from MedImgClassifierLib.worker import service

        def slow(*_, **__):
            time.sleep(3.5)
            raise Refusal("BUNDLE_UNSUPPORTED", path="x", reason="y")

        service.Session.classify = slow
        service.Service(sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0), Path(sys.argv[1])).run()
    """)
    assert refusal(client.start(volume(), spot_bundle)).code == "BUNDLE_UNSUPPORTED"


def test_a_slow_disk_is_not_taken_for_a_hung_worker(
    client: Client, spot_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.classify(volume(), spot_bundle, **SETTINGS)
    monkeypatch.setattr(clients, "SILENCE_S", 1.5)
    put = parcels.put_case

    def slowly(*given: Any) -> dict[str, Any]:
        time.sleep(2.5)
        return put(*given)

    monkeypatch.setattr(parcels, "put_case", slowly)
    assert len(until(client.start(volume(), spot_bundle, **SETTINGS)).result().slices) == 3


def test_a_run_cancelled_before_it_was_handed_over_leaves_nothing(
    client: Client, spot_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.classify(volume(), spot_bundle, **SETTINGS)
    put = parcels.put_case
    with monkeypatch.context() as patch:
        patch.setattr(parcels, "put_case", lambda *given: [time.sleep(1.5), put(*given)][1])
        run = client.start(volume(), spot_bundle, **SETTINGS)
        run.cancel()
        assert refusal(run, 1.2).code == "CANCELLED"
        run._handing_over.join(5)
    assert not run._worker.folder.exists()
    assert len(client.classify(volume(), spot_bundle, **SETTINGS).slices) == 3


def test_a_worker_that_prints_100_mb_is_heard_all_the_same(fake: Callable[[str], Client], spot_bundle: Path) -> None:
    refused = protocol.encode("refused", 1, code="CANCELLED", facts={}).decode()
    client = fake(f"""
        sys.stdin.readline()
        for _ in range(100):
            sys.stderr.write("x" * (1 << 20))
        sys.stdout.write({refused!r}); sys.stdout.flush()
        time.sleep(60)
    """)
    assert refusal(client.start(volume(), spot_bundle)).code == "CANCELLED"
    assert client._worker is not None and len(client._worker._tail) <= process.KEPT_OF_STDERR


def test_what_libraries_print_does_not_reach_the_messages(
    client: Client, spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, threading\n"
        "def noise():\n    import time\n    while True:\n        os.write(1, b'noise\\n' * 1000); time.sleep(0.01)\n"
        "threading.Timer(0.3, noise).start() if 'worker_main' in ' '.join(__import__('sys').orig_argv) else None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert len(client.classify(volume(500), spot_bundle, batch=1, **SETTINGS).slices) == 500


@pytest.mark.parametrize(
    "said",
    [
        "no json",
        "[]",
        '{"protocol": 2, "id": 1, "kind": "alive"}',
        '{"protocol": 1, "id": 1, "kind": "execute"}',
        '{"protocol": 1, "id": 1, "kind": "alive", "more": 1}',
        '{"protocol": 1, "id": true, "kind": "alive"}',
        '{"protocol": 1, "id": 1, "kind": "progress", "stage": "x"}',
        "x" * (protocol.LONGEST_LINE + 1),
    ],
)
def test_a_worker_that_talks_otherwise_is_ended(fake: Callable[[str], Client], spot_bundle: Path, said: str) -> None:
    client = fake(f"sys.stdin.readline(); sys.stdout.write({said!r} + chr(10)); sys.stdout.flush(); time.sleep(60)")
    run = client.start(volume(), spot_bundle)
    assert refusal(run).code == "RESOURCE_WORKER_DIED"
    assert client._worker is not None and gone(client._worker.pid)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"labels": 3}', '{"format_version": 1, "labels": [{}]}'])
def test_a_result_that_is_none_is_told(fake: Callable[[str], Client], spot_bundle: Path, content: str) -> None:
    client = fake(f"""
        import hashlib
        sys.stdin.readline()
        content = {content!r}.encode()
        open(os.path.join(sys.argv[1], "result1.json"), "wb").write(content)
        file = {{"at": "result1.json", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
        print(json.dumps({{"protocol": 1, "id": 1, "kind": "result", "file": file}}), flush=True)
        time.sleep(60)
    """)
    refused = refusal(client.start(volume(), spot_bundle))
    assert refused.code == "RESOURCE_WORKER_FAILED" and "not a result" in refused.message()


@pytest.mark.parametrize("code, facts", [("NEVER_HEARD_OF", {}), ("INPUT_EMPTY", {"code": 1}), ("BUNDLE_CHANGED", {})])
def test_a_refusal_of_another_version_is_told(
    fake: Callable[[str], Client], spot_bundle: Path, code: str, facts: dict[str, Any]
) -> None:
    said = protocol.encode("refused", 1, code=code, facts=facts).decode()
    client = fake(f"sys.stdin.readline(); sys.stdout.write({said!r}); sys.stdout.flush(); time.sleep(60)")
    refused = refusal(client.start(volume(), spot_bundle))
    assert refused.code == "RESOURCE_WORKER_FAILED" and code in refused.message()


@pytest.mark.parametrize("name", ["../result1.json", "/etc/passwd", "", ".", "a/b", "result1.json\0", 3, None])
def test_a_file_outside_the_private_folder_is_refused(tmp_path: Path, name: object) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "result1.json").write_text("{}")
    with pytest.raises(protocol.ProtocolError, match="no name of a file"):
        parcels.take(tmp_path / "in", {"at": name, "bytes": 2, "sha256": ""})


def test_a_file_that_is_not_what_was_sent_is_refused(tmp_path: Path) -> None:
    described = parcels.put(tmp_path, "a", b"content")
    assert parcels.take(tmp_path, described) == b"content"
    for broken in (b"contenT", b"conten", b"content more"):
        (tmp_path / "a").write_bytes(broken)
        with pytest.raises(protocol.ProtocolError, match="not what was sent"):
            parcels.take(tmp_path, described)
    parcels.delete(tmp_path, described)
    with pytest.raises(protocol.ProtocolError, match="cannot be read"):
        parcels.take(tmp_path, described)


@pytest.mark.parametrize("dtype", ["int16", ">i2", "uint8", "float32", "float64"])
def test_a_case_arrives_as_it_was_sent(tmp_path: Path, dtype: str) -> None:
    source = Source(
        path="/a/卷", series_uid="1.2", instance_numbers=(3, 1), sop_instance_uids=("a", "b"), notes=("N: x",)
    )
    voxels = (np.arange(24).reshape(2, 3, 4) * 7).astype(dtype)[:, ::-1]
    axes = {"row_direction_lps": np.array([0.6, 0.8, 0]), "column_direction_lps": np.array([-0.8, 0.6, 0])}
    origins = np.array([[0, 0, 0.1], [0, 1e-17, 5]])
    one = Volume(voxels, **axes, spacing_mm=(0.3, 0.7), slice_origins_lps=origins, modality="MR", source=source)
    case = Case({"T1": one, "T2": None}, "T1", "patient")
    arrived = parcels.take_case(tmp_path, parcels.put_case(tmp_path, 1, case))
    assert isinstance(arrived, Case)
    there = arrived.reference_volume
    assert (arrived.reference, arrived.patient_key, list(arrived.channels)) == ("T1", "patient", ["T1", "T2"])
    assert there.voxels.dtype == one.voxels.dtype and there.content_sha256 == one.content_sha256
    for name in ("spacing_mm", "modality", "units", "slice_thickness_mm", "source"):
        assert getattr(there, name) == getattr(one, name)
    lone = parcels.take_case(tmp_path, parcels.put_case(tmp_path, 2, one))
    assert isinstance(lone, Volume) and lone.content_sha256 == one.content_sha256


def test_a_full_disk_is_told_and_leaves_nothing(
    client: Client, spot_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.classify(volume(), spot_bundle, **SETTINGS)
    write, full = Path.write_bytes, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half(path: Path, content: bytes) -> int:
        write(path, bytes(content)[:10])
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        refused = refusal(client.start(volume(), spot_bundle, **SETTINGS))
    assert refused.code == "RESOURCE_TEMPORARY_FOLDER" and "No space left" in refused.message()
    assert client._worker is not None and list(client._worker.folder.glob("case*")) == []
    assert len(client.classify(volume(), spot_bundle, **SETTINGS).slices) == 3


def test_no_place_for_the_private_folder_is_told(
    client: Client, spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(Refusal) as refused:
        client.start(volume(), spot_bundle)
    assert refused.value.code == "RESOURCE_TEMPORARY_FOLDER"


def test_a_python_that_is_not_there_is_told(spot_bundle: Path) -> None:
    with pytest.raises(Refusal) as refused:
        Client(("/no/such/python",)).start(volume(), spot_bundle)
    assert refused.value.code == "RESOURCE_WORKER_START"


def test_a_second_run_has_to_wait(client: Client, spot_bundle: Path) -> None:
    run = client.start(volume(), spot_bundle, **SETTINGS)
    with pytest.raises(RuntimeError, match="under way"):
        client.start(volume(), spot_bundle, **SETTINGS)
    until(run)


LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))
"""


@pytest.fixture
def launched(fake: Callable[[str], Client], spot_bundle: Path, tmp_path: Path) -> Client:
    """A client as in Slicer, where a launcher is started whose child works. This child reads no stdin."""
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    client = fake("time.sleep(60)")
    client._command = (sys.executable, str(tmp_path / "launcher.py"))
    said_hello(client.start(volume(), spot_bundle))
    return client


@posix
def test_a_worker_behind_a_launcher_is_ended_with_it(launched: Client) -> None:
    worker = launched._worker
    assert worker is not None and worker.pid != worker._process.pid
    launched.close()
    assert gone(worker.pid)


@posix
def test_a_worker_whose_launcher_was_killed_is_ended(launched: Client) -> None:
    worker = launched._worker
    assert worker is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait(5)
    assert alive(worker.pid)
    launched.close()
    assert gone(worker.pid)


FACE = """
import json, sys, time
from pathlib import Path
import numpy as np
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.worker.client import Client
volume = Volume.from_matrix(np.zeros((5000, 64, 64), np.int16) + np.arange(64, dtype=np.int16), np.eye(4))
client = Client()
run = client.start(volume, Path(sys.argv[1]), device="cpu", runtime="onnxruntime", threads=1, batch=1)
while run.stage != "classify":
    run.poll(); time.sleep(0.01)
print(json.dumps({"pid": client._worker.pid, "folder": str(client._worker.folder)}), flush=True)
time.sleep(60)
"""


@posix
def test_a_worker_whose_face_was_killed_ends_and_leaves_no_patient_data(spot_bundle: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FACE, str(spot_bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as face:
        assert face.stdout is not None
        worker: dict[str, Any] = json.loads(face.stdout.readline())
        assert alive(worker["pid"]) and Path(worker["folder"]).is_dir()
        face.kill()
    assert gone(worker["pid"], 2)
    assert not Path(worker["folder"]).exists()
