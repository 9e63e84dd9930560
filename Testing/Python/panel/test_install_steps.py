"""An installation without Slicer: what is missing, what pip is asked, what its failures mean, how it ends."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import tiny_wheels
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.installation import kit_file, libraries, pip_errors, steps

ROOT = Path(__file__).resolve().parents[3]


def pip(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real pip, deaf to this computer's settings."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and "proxy" not in k.lower()}
    plain |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": str(folder)} | environment
    command = [sys.executable, "-m", "pip", *map(str, words)]
    return subprocess.run(command, env=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """site-packages of an empty environment, which this Python looks into first; `libraries` asks for tinyrun."""
    venv.create(tmp_path / "Slicer's Python", with_pip=False)
    (site,) = (tmp_path / "Slicer's Python").glob("lib/python*/site-packages")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(libraries, "requirements", lambda: ["tinyrun>=1.5"])
    return site


class Doubles:
    """steps.Host: by default pip ends well at once; what was asked of it is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], list[str] | None]] = []
        self.constraints = ""
        self.lines: list[str] = ["Collecting tinyrun", "Successfully installed tinyrun-1.5"]
        self.status: int | None = 0  # None: pip goes on until `end`
        self.while_pip_runs: Callable[[], None] = lambda: None
        self.end: Callable[[int], None] = lambda status: None
        self.torch: list[Path] = []
        self.torch_refusal: Refusal | None = None
        self.torch_can_be = True
        self.while_torch: Callable[[], None] = lambda: None

    def pip(self, arguments: Any, repairs: Any, constraints: Path, on_line: Any, on_end: Any) -> None:
        self.asked.append((arguments, repairs))
        self.constraints = constraints.read_text(encoding="utf-8")
        self.folder = constraints.parent
        self.end = on_end
        self.while_pip_runs()
        for line in self.lines:
            on_line(line)
        if self.status is not None:
            on_end(self.status)

    def check_torch_can_be_installed(self) -> None:
        if not self.torch_can_be:
            raise Refusal("RESOURCE_PYTORCH_EXTENSION")

    def install_torch(self, constraints: Path) -> None:
        assert constraints.is_file()
        self.torch.append(constraints)
        self.while_torch()
        if self.torch_refusal:
            raise self.torch_refusal


class RealPip(Doubles):
    """Runs the real pip as slicer.packaging does: repairs with --no-deps first, then the rest, both constrained."""

    def __init__(self, site: Path, *more: object) -> None:
        super().__init__()
        self.python, self.more = site.parents[2] / "bin" / "python", more

    def pip(self, arguments: Any, repairs: Any, constraints: Path, on_line: Any, on_end: Any) -> None:
        self.asked.append((arguments, repairs))
        for words in ([*repairs, "--no-deps"] if repairs else None, arguments):
            if words is None:
                continue
            home = self.python.parent
            done = pip("--python", self.python, "install", *words, *self.more, "-c", constraints, folder=home)
            for line in done.stdout.splitlines():
                on_line(line)
            if done.returncode:
                break
        on_end(done.returncode)


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the program that verifies: its code gets `answer(failed, reason)`. By default all is well."""

    def replace(code: str) -> None:
        program = tmp_path / "check.py"
        program.write_text(
            "import json, sys, time\n"
            "def answer(failed, reason):\n"
            "    open(sys.argv[1], 'w').write(json.dumps({'failed': failed, 'reason': reason}))\n" + code,
            encoding="utf-8",
        )
        monkeypatch.setattr(steps, "CHECK", program)

    replace("answer('', '')")
    return replace


def install(host: Doubles, choice: steps.Choice | None) -> steps.Installation:
    installation = steps.Installation(host, [sys.executable])
    assert installation.state == "asked"
    installation.choose(choice)
    return wait(installation)


def wait(installation: steps.Installation) -> steps.Installation:
    until = time.monotonic() + 60
    while not installation.poll():
        assert time.monotonic() < until, installation.state
        time.sleep(0.01)
    return installation


def left_behind() -> list[Path]:
    import tempfile

    return list(Path(tempfile.gettempdir()).glob("medimg-install-*"))


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is left behind is seen."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


# --- what is missing


def finish(site: Path, wheel: Path) -> None:
    done = pip(
        *("--python", site.parents[2] / "bin" / "python"), "install", "--no-deps", "--no-index", wheel, folder=site
    )
    assert done.returncode == 0, done.stdout


def test_what_is_missing_too_old_or_lacks_its_own_requirements_is_found(place: Path, tmp_path: Path) -> None:
    path = [str(place)]
    assert libraries.needed(path) == (("tinyrun>=1.5",), ())
    finish(place, tiny_wheels.write(tmp_path, "tinyrun", "1.4"))
    assert libraries.needed(path) == (("tinyrun>=1.5",), ())
    requires = ["tinypart>=2", "not_here; sys_platform == 'nowhere'", "not_asked; extra == 'more'"]
    finish(place, tiny_wheels.write(tmp_path, "tinyrun", "1.10", requires))
    assert libraries.needed(path) == (("tinypart>=2",), ())
    finish(place, tiny_wheels.write(tmp_path, "tinypart", "2.0rc1"))
    assert libraries.needed(path) == (("tinypart>=2",), ())  # as pip has it: before 2
    finish(place, tiny_wheels.write(tmp_path, "tinypart", "2.1rc1"))
    assert not libraries.needed(path)


@pytest.mark.parametrize("gone", ["tinyrun-1.5.dist-info/INSTALLER", "tinyrun-1.5.dist-info/METADATA", "tinyrun.py"])
def test_what_a_broken_off_installation_has_left_is_not_taken_for_a_library(
    place: Path, tmp_path: Path, gone: str
) -> None:
    finish(place, tiny_wheels.write(tmp_path, "tinyrun", "1.5"))
    assert not libraries.needed([str(place)])
    (place / gone).unlink()
    assert libraries.needed([str(place)]) == (("tinyrun>=1.5",), ("tinyrun>=1.5",))


def test_nothing_is_imported_to_find_out() -> None:
    ask = (
        "import sys; from MedImgClassifierLib.installation import libraries, steps; assert not libraries.needed();"
        "print(*{'numpy', 'onnxruntime', 'jsonschema', 'safetensors', 'torch', 'SimpleITK', 'scipy'} & {*sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "MedImgClassifier")}
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == []


def test_requirements_are_what_the_worker_imports_and_slicer_lacks() -> None:
    """Minimum versions without pins, and no more than classification imports."""
    import re

    from MedImgClassifierLib.worker import check_libraries

    lines = libraries.requirements()
    assert all(re.fullmatch(r"\w+>=\d+(\.\d+)*", line) for line in lines)
    names = {line.partition(">")[0] for line in lines}
    assert names == set(check_libraries._LIBRARIES) - {"MedImgClassifierLib"}
    source = "".join(
        path.read_text(encoding="utf-8")
        for room in ("engine", "worker")
        for path in (ROOT / "MedImgClassifier" / "MedImgClassifierLib" / room).glob("*.py")
        if path.name != "check_libraries.py"
    )
    imported = {m[1] or m[2] for m in re.finditer(r"^ *(?:import (\w+)|from (\w+)[.\w]* import)", source, re.MULTILINE)}
    slicer_brings = {"numpy", "scipy", "SimpleITK", "pydicom", "PIL", "MedImgClassifierLib"}
    by_choice = {"torch", "torchvision", "openvino", "matplotlib"}
    third = imported - set(sys.stdlib_module_names) - slicer_brings - by_choice
    assert {"protobuf" if name == "google" else name for name in third} == names


def test_versions_of_torch_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, versions in libraries.TORCH.items():
        assert f'"{name}{versions}"' in text


# --- what pip is asked, and how it ends


def test_an_installation_goes_from_the_question_to_verified_libraries(place: Path, check: Any) -> None:
    host = Doubles()
    seen: list[tuple[str, str]] = []
    installation = steps.Installation(host, [sys.executable])
    host.while_pip_runs = lambda: seen.append((installation.state, installation.line))
    installation.choose("light")
    seen.append((installation.state, installation.line))
    wait(installation)
    assert seen == [("installing", ""), ("verifying", "")]
    assert (installation.state, installation.refusal) == ("done", None)
    ((arguments, repairs),) = host.asked
    assert arguments == [
        "--only-binary=:all:",
        "--no-input",
        "--retries=2",
        "--disable-pip-version-check",
        "tinyrun>=1.5",
    ]
    assert repairs is None
    assert left_behind() == []


def test_slicers_own_libraries_are_held_where_they_are(place: Path, check: Any) -> None:
    import numpy
    import pydicom

    host = Doubles()
    assert install(host, "light").state == "done"
    lines = host.constraints.splitlines()
    assert f"numpy=={numpy.__version__}" in lines and f"pydicom=={pydicom.__version__}" in lines
    assert any(line.startswith("SimpleITK==") for line in lines)


def test_declined_is_a_clear_end_and_asks_pip_for_nothing() -> None:
    host = Doubles()
    installation = install(host, None)
    assert installation.state == "declined" and installation.refusal
    assert installation.refusal.code == "CANCELLED_INSTALL_DECLINED" and installation.refusal.exit_status == 6
    assert host.asked == [] and left_behind() == []


def test_a_library_of_slicer_that_changed_is_an_error(place: Path, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Doubles()
    versions = iter([{"numpy": "2.4.6", "scipy": "1.17.1"}, {"numpy": "1.26.4", "scipy": "1.17.1"}])
    monkeypatch.setattr(libraries, "versions", lambda: next(versions))
    installation = install(host, "light")
    assert installation.state == "failed" and installation.refusal
    text = str(installation.refusal)
    assert "RESOURCE_INSTALL_CHANGED" in text and "numpy 2.4.6 -> 1.26.4" in text
    assert "pip_install('numpy==2.4.6 scipy==1.17.1')" in text and "scipy 1" not in text


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "answer('onnxruntime', 'ImportError: DLL load failed')",
            "onnxruntime was installed and does not load (Import",
        ),
        ("import os; print('native crash', flush=True); os.abort()", "(native crash)"),
        ("import sys; sys.exit(3)", "(exit status 3)"),
    ],
)
def test_what_pip_calls_a_success_is_not_believed(place: Path, check: Any, code: str, expected: str) -> None:
    check(code)
    installation = install(Doubles(), "light")
    assert installation.state == "failed" and expected in str(installation.refusal)
    assert left_behind() == []


def test_a_check_that_never_answers_is_ended(place: Path, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check("time.sleep(60)")
    monkeypatch.setattr(steps, "VERIFY_S", 0.2)
    installation = install(Doubles(), "light")
    assert installation.refusal and installation.refusal.code == "RESOURCE_INSTALL_UNUSABLE"
    assert installation._check and installation._check.poll() is not None


def test_a_worker_python_that_is_not_there_is_told(place: Path) -> None:
    installation = steps.Installation(Doubles(), ["/no/such/PythonSlicer"])
    installation.choose("light")
    assert installation.refusal and installation.refusal.code == "RESOURCE_WORKER_START"


def test_cancelled_while_pip_runs_it_waits_for_nothing_and_is_cleaned_when_pip_ends(place: Path, check: Any) -> None:
    host = Doubles()
    host.status = None
    installation = steps.Installation(host, [sys.executable])
    installation.choose("light")
    assert installation.state == "installing" and installation.line == "Successfully installed tinyrun-1.5"
    installation.cancel()
    assert installation.state == "cancelled" and installation.poll()
    assert host.folder.is_dir(), "pip still reads its constraints"
    host.end(0)
    assert installation.state == "cancelled" and left_behind() == []


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="/proc tells whether a process runs")
def test_cancelled_while_it_verifies_the_check_behind_a_launcher_is_ended(
    place: Path, check: Any, tmp_path: Path
) -> None:
    file, launcher = tmp_path / "pid", tmp_path / "launcher.py"
    launcher.write_text("import subprocess, sys\nsys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))\n")
    check(f"import os\nopen({str(file)!r}, 'w').write(f'{{os.getpid()}}.')\ntime.sleep(60)")

    def runs(pid: str) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"

    def until(happened: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end
            time.sleep(0.02)

    installation = steps.Installation(Doubles(), [sys.executable, str(launcher)])
    installation.choose("light")
    until(lambda: file.exists() and file.read_text().endswith("."), 20)
    pid = file.read_text()[:-1]
    assert installation._check and str(installation._check.pid) != pid and runs(pid)
    installation.cancel()
    until(lambda: not runs(pid), 2)
    assert left_behind() == []


def test_cancelled_while_it_verifies_the_check_is_ended(place: Path, check: Any) -> None:
    check("time.sleep(60)")
    installation = steps.Installation(Doubles(), [sys.executable])
    installation.choose("light")
    assert installation.state == "verifying" and not installation.poll()
    installation.cancel()
    assert installation._check and installation._check.poll() is not None
    assert installation.state == "cancelled" and left_behind() == []


def test_a_temporary_folder_that_cannot_be_used_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place / "no such folder"))
    host = Doubles()
    installation = install(host, "light")
    assert installation.refusal and installation.refusal.code == "RESOURCE_TEMPORARY_FOLDER"
    assert host.asked == []


# --- GPU


def test_a_gpu_gets_the_light_libraries_then_torch(place: Path, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check("answer('', '') if '--torch' in sys.argv else answer('check', 'torch was not asked for')")
    monkeypatch.setattr(libraries, "TORCH", {"tinytorch": ">=1"})
    host = Doubles()
    installation = steps.Installation(host, [sys.executable])
    host.while_torch = lambda: installation.poll()  # type: ignore[assignment,return-value]  # events are handled
    installation.choose("gpu")
    assert installation.state == "installing torch" and len(host.asked) == 1 and not host.torch
    assert wait(installation).state == "done" and len(host.torch) == 1


def test_torch_that_is_there_is_not_installed_again(place: Path, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "TORCH", {"pytest": ">=1"})
    host = Doubles()
    assert install(host, "gpu").state == "done" and not host.torch


def test_without_the_pytorch_extension_nothing_is_begun(place: Path) -> None:
    host = Doubles()
    host.torch_can_be = False
    installation = install(host, "gpu")
    assert installation.refusal and installation.refusal.code == "RESOURCE_PYTORCH_EXTENSION"
    assert host.asked == [] and left_behind() == []


@pytest.mark.parametrize(
    ("code", "facts", "state"),
    [("CANCELLED_INSTALL_DECLINED", {}, "declined"), ("RESOURCE_INSTALL_TORCH", {"reason": "x"}, "failed")],
)
def test_torch_declined_or_failed(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: str, facts: dict[str, str], state: str
) -> None:
    monkeypatch.setattr(libraries, "TORCH", {"tinytorch": ">=1"})
    host = Doubles()
    host.torch_refusal = Refusal(code, **facts)
    installation = install(host, "gpu")
    assert installation.state == state and installation.refusal is host.torch_refusal and left_behind() == []


def test_cancelled_while_torch_is_installed_nothing_follows(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "TORCH", {"tinytorch": ">=1"})
    host = Doubles()
    installation = steps.Installation(host, [sys.executable])
    host.while_torch = installation.cancel
    installation.choose("gpu")
    assert wait(installation).state == "cancelled" and installation._check is None and left_behind() == []


# --- the real pip


def test_real_pip_installs_what_is_missing_and_mends_what_was_broken_off(
    place: Path, check: Any, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    tiny_wheels.write(wheels, "tinyrun", "1.5", ["tinypart"])
    tiny_wheels.write(wheels, "tinypart", "1.0")
    finish(place, wheels / "tinyrun-1.5-py3-none-any.whl")
    (place / "tinyrun.py").unlink()
    (place / "tinyrun-1.5.dist-info" / "INSTALLER").unlink()
    host = RealPip(place, "--no-index", "--find-links", wheels)
    assert install(host, "light").state == "done"
    assert host.asked[0][1] and host.asked[0][1][-2:] == ["--ignore-installed", "tinyrun>=1.5"]
    assert (place / "tinyrun.py").is_file() and (place / "tinypart.py").is_file()
    assert not libraries.needed([str(place)])


def test_real_pip_keeps_what_is_constrained(place: Path, check: Any, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    tiny_wheels.write(wheels, "tinyrun", "1.5", ["pydicom>=99"])
    tiny_wheels.write(wheels, "pydicom", "99.0")
    installation = install(RealPip(place, "--no-index", "--find-links", wheels), "light")
    assert installation.refusal and installation.refusal.code == "RESOURCE_INSTALL_CONFLICT"
    assert not (place / "pydicom.py").exists()


def test_a_kit_is_installed_from_and_nothing_else_is_asked(
    place: Path, check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tiny_wheels.write(tmp_path / "wheels", "tinyrun", "1.6")
    bundle = tmp_path / "spot-1.0.0.zip"
    bundle.write_bytes(b"not looked into here")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    files = {f"wheels/{wheel.name}": wheel, f"bundles/{bundle.name}": bundle}
    kit_file.write(tmp_path / "kit.zip", "any", python, "1", files)
    check("answer('spot-1.0.0', 'no good') if sys.argv[-1].endswith('spot-1.0.0.zip') else answer('', '')")
    host = RealPip(place)
    installation = install(host, tmp_path / "kit.zip")
    words = host.asked[0][0]
    assert {"--isolated", "--no-index", "--find-links"} <= set(words) and (place / "tinyrun.py").is_file()
    assert installation.refusal and installation.refusal.code == "INPUT_KIT_BUNDLE"
    assert left_behind() == []


def test_a_kit_that_lacks_a_library_says_so(place: Path, check: Any, tmp_path: Path) -> None:
    wheel = tiny_wheels.write(tmp_path / "wheels", "tinyrun", "1.4")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    kit_file.write(tmp_path / "kit.zip", "any", python, "1", {f"wheels/{wheel.name}": wheel})
    installation = install(RealPip(place), tmp_path / "kit.zip")
    assert installation.refusal and installation.refusal.code == "INPUT_KIT_LACKS"


def test_a_bad_kit_never_reaches_pip(place: Path, tmp_path: Path) -> None:
    (tmp_path / "kit.zip").write_bytes(b"PK nonsense")
    host = Doubles()
    installation = install(host, tmp_path / "kit.zip")
    assert installation.refusal and installation.refusal.code == "INPUT_KIT"
    assert host.asked == [] and left_behind() == []


# --- what pip's failures mean


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "DISK_FULL"),
        ("ERROR: Could not install packages due to an OSError: [WinError 112] There is not enough space", "DISK_FULL"),
        ("ERROR: Could not install ... OSError: [Errno 13] Permission denied: '/opt/Slicer/lib'", "PERMISSION"),
        ("ERROR: Could not install ... OSError: [WinError 5] Access is denied: 'C:\\\\Slicer\\\\x.pyd'", "PERMISSION"),
        ("OSError: [WinError 206] The filename or extension is too long: 'C:\\\\...'", "LONG_PATH"),
        ("HINT: This error might have occurred since ... Windows Long Path support enabled.", "LONG_PATH"),
        ("WARNING: Retrying ... after connection broken by 'ProxyError('Cannot connect to proxy.', ...)'", "PROXY"),
        ("OSError('Tunnel connection failed: 407 Proxy Authentication Required')", "PROXY"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify", "CERTIFICATE"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(...): Read timed out.", "NETWORK"),
        (
            "NewConnectionError('...: Failed to establish a new connection: [Errno 11001] getaddrinfo failed')",
            "NETWORK",
        ),
        ("ERROR: No matching distribution found for onnxruntime>=1.20", "NO_WHEEL"),
        ("ERROR: ResolutionImpossible: for help visit ...", "CONFLICT"),
        ("ERROR: Exception: something new", "FAILED"),
    ],
)
def test_a_failure_of_pip_is_told_with_what_to_do(line: str, code: str) -> None:
    refusal = pip_errors.explain(["Collecting onnxruntime", line, "  a last line"], 1)
    assert refusal.code == f"RESOURCE_INSTALL_{code}" and line[:30] in str(refusal)
    assert refusal.message("zh") != refusal.message("en")


def test_variables_and_the_kit_are_named_where_they_help() -> None:
    proxy = str(pip_errors.explain(["ProxyError"], 1))
    certificate = str(pip_errors.explain(["CERTIFICATE_VERIFY_FAILED"], 1))
    assert "HTTPS_PROXY" in proxy and "medimg kit" in proxy
    assert "PIP_CERT" in certificate and "REQUESTS_CA_BUNDLE" in certificate and "medimg kit" in certificate


def test_an_index_that_was_not_reached_is_not_called_a_missing_library() -> None:
    last = "ERROR: No matching distribution found for tinyrun"
    unreached = ["WARNING: Retrying (...): ProxyError", "ERROR: Could not find a version (from versions: none)", last]
    assert pip_errors.explain(unreached, 1).code == "RESOURCE_INSTALL_PROXY"
    slow = [
        "WARNING: Retrying (...): Read timed out",
        "ERROR: Could not find a version (from versions: 1.0, 1.1)",
        last,
    ]
    assert pip_errors.explain(slow, 1).code == "RESOURCE_INSTALL_NO_WHEEL"


def test_a_password_of_a_proxy_is_not_shown() -> None:
    refusal = pip_errors.explain(["ProxyError: http://anna:secret@proxy.hospital:8080 refused"], 1)
    assert "secret" not in str(refusal) and "anna" not in str(refusal) and "proxy.hospital" in str(refusal)


def test_no_output_at_all_still_says_something() -> None:
    assert "exit status 7" in str(pip_errors.explain([], 7))


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[int]:
    """Port of a server whose certificate nobody has signed."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run(["openssl", *words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except OSError:
        pytest.skip("no openssl to make a certificate with")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_real_pip_at_a_certificate_that_is_not_trusted(tls_server: int, tmp_path: Path) -> None:
    where = {"PIP_INDEX_URL": f"https://localhost:{tls_server}/simple", "PIP_RETRIES": "1"}
    done = pip("download", "tinyrun", folder=tmp_path, **where)
    assert pip_errors.explain(done.stdout.splitlines(), done.returncode).code == "RESOURCE_INSTALL_CERTIFICATE"


class RefusingProxy(BaseHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        self.send_error(407)

    def log_message(self, *_: Any) -> None: ...


def test_real_pip_at_a_proxy_that_asks_for_a_password(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), RefusingProxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = {"PIP_INDEX_URL": "https://index.invalid/simple", "HTTPS_PROXY": f"http://127.0.0.1:{server.server_port}"}
    done = pip("download", "tinyrun", folder=tmp_path, PIP_RETRIES="1", **where)
    server.shutdown()
    server.server_close()
    refusal = pip_errors.explain(done.stdout.splitlines(), done.returncode)
    assert refusal.code == "RESOURCE_INSTALL_PROXY" and "407" in str(refusal)


@pytest.mark.parametrize("proxy", [{"HTTPS_PROXY": "http://127.0.0.1:9"}, {}])
def test_real_pip_behind_a_dead_proxy_or_without_a_network(tmp_path: Path, proxy: dict[str, str]) -> None:
    """Not every pip tells them apart, so the advice is for both."""
    where = {"PIP_INDEX_URL": "https://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    done = pip("download", "tinyrun", folder=tmp_path, **where, **proxy)
    refusal = pip_errors.explain(done.stdout.splitlines(), done.returncode)
    assert refusal.code in ("RESOURCE_INSTALL_NETWORK", "RESOURCE_INSTALL_PROXY") and "HTTPS_PROXY" in str(refusal)


def test_real_pip_in_a_place_where_it_may_not_write(tmp_path: Path) -> None:
    wheel = tiny_wheels.write(tmp_path, "tinyrun")
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "target").mkdir(mode=0o500)
    done = pip("install", "--no-index", "--target", tmp_path / "target", wheel, folder=tmp_path)
    assert pip_errors.explain(done.stdout.splitlines(), done.returncode).code == "RESOURCE_INSTALL_PERMISSION"


# --- the program that verifies


def verify(tmp_path: Path, *words: object, **environment: str) -> tuple[str, str]:
    from MedImgClassifierLib.worker import check_libraries

    command = [sys.executable, check_libraries.__file__, str(tmp_path / "answer.json"), *map(str, words)]
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    subprocess.run(command, cwd=tmp_path, env=plain, check=True, timeout=120)
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    return answer["failed"], answer["reason"]


def test_the_check_loads_everything_and_finds_the_library_by_itself(tmp_path: Path) -> None:
    assert verify(tmp_path) == ("", "")


def test_the_check_names_the_library_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "threadpoolctl.py").write_text("raise OSError('DLL load failed')\n", encoding="utf-8")
    assert verify(tmp_path, PYTHONPATH=str(tmp_path)) == ("threadpoolctl", "OSError: DLL load failed")


def test_the_check_takes_a_bundle_in_with_its_self_test(tmp_path: Path, spot_bundle: Path) -> None:
    import zipfile

    packed = tmp_path / "spot.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in spot_bundle.rglob("*"):
            if path.is_file():
                archive.writestr(path.relative_to(spot_bundle).as_posix(), path.read_bytes())
    folder = tmp_path / "bundles of the user"
    assert verify(tmp_path, packed, MEDIMG_BUNDLES=str(folder)) == ("", "")
    assert len([path for path in folder.iterdir() if not path.name.startswith(".")]) == 1
    (tmp_path / "bad.zip").write_bytes(b"PK")
    failed, reason = verify(tmp_path, tmp_path / "bad.zip", MEDIMG_BUNDLES=str(folder))
    assert failed == "bad" and reason.startswith("error[BUNDLE")
