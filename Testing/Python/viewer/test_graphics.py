"""Whether pictures can be drawn: what is said where they cannot, and what is installed. Nothing is, here."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.viewer import graphics

DEBIAN = {"ID": "debian", "VERSION_ID": "12"}
UBUNTU = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"}
MINT = {"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}
ELEMENTARY = {"ID": "elementary", "ID_LIKE": "ubuntu"}
FEDORA = {"ID": "fedora", "VERSION_ID": "42"}
RHEL = {"ID": "rhel", "ID_LIKE": "fedora"}
ROCKY = {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}
ARCH = {"ID": "arch"}

APT = "apt-get update && apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri"
APT_SUDO = "sudo apt-get update && sudo apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri"
DNF_SUDO = "sudo dnf install -y mesa-libEGL mesa-dri-drivers"

INSTALL = "-o DPkg::Lock::Timeout=300 install -y --no-install-recommends libegl1 libgl1-mesa-dri"
UPDATE = "-o DPkg::Lock::Timeout=300 update"

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets something be installed")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def child(program: str) -> list[str]:
    """A process that stands in for the one that draws."""
    return [sys.executable, "-c", program]


def refusal(command: Sequence[str], timeout: float = 30) -> Refusal:
    with pytest.raises(Refusal) as refused:
        graphics.check_graphics(timeout, command)
    return refused.value


def reason(program: str, timeout: float = 30) -> str:
    """Why the picture of such a process is not accepted."""
    refused = refusal(child(program), timeout)
    assert refused.code == "RESOURCE_GRAPHICS" and refused.exit_status == 5
    return str(refused.facts["reason"])


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)


# --- the picture itself


def test_pictures_can_be_drawn_here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "_may_install", lambda: False)  # not even where they cannot
    graphics.check_graphics()
    assert graphics.main([]) == 0
    assert graphics.main(["--install"]) == 0  # and so nothing is installed
    assert capfd.readouterr() == ("", "")
    assert "VTK_DEFAULT_OPENGL_WINDOW" not in os.environ


def test_the_module_can_be_started_as_the_makefile_does(tmp_path: Path) -> None:
    package = Path(graphics.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "MedImgClassifierLib.viewer.graphics", "--install"],
        env={**os.environ, "PYTHONPATH": str(package), "PATH": str(tmp_path)},  # without apt-get
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_no_module_of_the_folder_that_one_stands_in_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vtkmodules", "resource", "MedImgClassifierLib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    graphics.check_graphics()


@needs_signals
def test_a_crash_would_leave_no_core_file() -> None:
    *start, drawing, package = graphics._COMMAND
    then = "; import resource; sys.exit(f'core {resource.getrlimit(resource.RLIMIT_CORE)}')"
    assert refusal([*start, drawing + then, package]).facts["reason"] == "VTK ended with exit status 1: core (0, 0)"


@needs_linux
def test_a_real_crash_of_vtk_is_a_refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if ctypes.util.find_library("OSMesa"):
        pytest.skip("VTK draws with libOSMesa here where EGL has no driver")
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(tmp_path))
    refused = refusal(graphics._COMMAND)
    assert refused.facts["reason"] == "the system library libEGL finds no OpenGL driver"


# --- what is said about one that is not right

EGL_MISSING = "2026 vtkOpenGLRenderWindow.c:645 WARN| Failed to load EGL! Please\n2026 libOSMesa not found. It appears"
CRASH = "import os, signal, sys, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
SEGFAULT = "sys.stderr.flush(); os.kill(os.getpid(), signal.SIGSEGV)"


@needs_signals
@pytest.mark.parametrize(
    ("warning", "meaning"),
    [
        (EGL_MISSING, "the system library libEGL is missing"),
        (
            "Unable to find a valid OpenGL 3.2 or later\nlibOSMesa not found",
            "the system library libEGL finds no OpenGL driver",
        ),
        ("Failed to load an X11 library", "the system library libX11 is missing"),
        ("libOSMesa not found", "the system library libOSMesa is missing"),
        ("something\nelse\n", "VTK ended with SIGSEGV: else"),
        ("", "VTK ended with SIGSEGV"),
    ],
)
def test_a_crash_is_told_by_what_vtk_wrote_before(warning: str, meaning: str) -> None:
    assert reason(f"{CRASH}sys.stderr.write({warning!r}); {SEGFAULT}") == meaning


@needs_signals
def test_a_crash_after_the_right_picture_is_one_all_the_same() -> None:
    said = reason(f"{CRASH}print('255 0 0\\n0 0 255', flush=True); {SEGFAULT}")
    assert said == "VTK ended with SIGSEGV"


@needs_linux
def test_a_signal_without_a_name() -> None:
    assert reason("import os; os.kill(os.getpid(), 40)") == "VTK ended with signal 40"


@pytest.mark.parametrize(
    ("program", "meaning"),
    [
        ("print('0 0 255\\n0 0 255')", "the picture that VTK drew is empty"),
        ("print('0 0 0\\n0 0 0')", "the picture that VTK drew is wrong: '0 0 0\\n0 0 0\\n'"),
        ("print('255 0 0')", "the picture that VTK drew is wrong: '255 0 0\\n'"),
        ("print('\\x00 \\ufeff' * 999)", "the picture that VTK drew is wrong: "),
        ("import sys; sys.stdout.buffer.write(bytes(range(128, 256)))", "the picture that VTK drew is wrong: "),
        ("", "the picture that VTK drew is wrong: ''"),
        ("raise OSError('no such thing')", "VTK ended with exit status 1: OSError: no such thing"),
        ("print('255 0 0\\n0 0 255'); raise SystemExit(3)", "VTK ended with exit status 3"),
        ("raise SystemExit('x' * 9999)", f"VTK ended with exit status 1: {'x' * 200}"),
    ],
)
def test_a_picture_that_is_not_right_is_a_refusal(program: str, meaning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    said = reason(program)
    assert said == meaning or (meaning.endswith(": ") and said.startswith(meaning))
    assert len(said) < 400


def test_a_right_picture_with_a_driver_s_chatter_is_right() -> None:
    chatter = f"import sys; sys.stderr.write({EGL_MISSING!r}); print('driver 5.1')"
    graphics.check_graphics(30, child(f"{chatter}; print('255 0 0\\n0 0 255')"))


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    begun = time.monotonic()
    alive = tmp_path / "alive"
    grandchild = f"import time\nwhile True:\n    open({str(alive)!r}, 'a').write('.')\n    time.sleep(.02)"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(alive)!r}).exists(): time.sleep(.02)\ntime.sleep(60)"
    program = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {grandchild!r}])\n{waits}"
    assert reason(program, timeout=3) == "there was no picture after 3 s"
    assert time.monotonic() - begun < 20
    size = alive.stat().st_size
    time.sleep(0.3)
    assert alive.stat().st_size == size > 0


def test_an_interruption_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(process: subprocess.Popen[bytes], **_: object) -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        graphics.check_graphics(60, child("import time; time.sleep(60)"))
    assert time.monotonic() - begun < 20 and started[0].returncode not in (None, 0)


def test_an_interpreter_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    refused = refusal([str(tmp_path / "python")])
    assert refused.code == "RESOURCE_GRAPHICS" and "No such file" in str(refused.facts["reason"])


def test_without_vtk_no_system_library_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused = refusal(graphics._COMMAND)
    assert refused.code == "RESOURCE_MISSING_LIBRARY" and "medimgclassifier[scene]" in refused.message()


# --- how VTK is told to draw

SHOWS = "import os, sys; sys.exit(os.environ.get('VTK_DEFAULT_OPENGL_WINDOW', 'nothing'))"


@needs_linux
def test_vtk_draws_through_egl_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"HOME": "/home/user"}
    graphics.prepare_environment(environment)
    assert environment == {"HOME": "/home/user", "VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow"}
    assert reason(SHOWS) == "VTK ended with exit status 1: vtkEGLRenderWindow"

    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkXOpenGLRenderWindow")
    graphics.prepare_environment()
    assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "vtkXOpenGLRenderWindow"
    assert reason(SHOWS) == (
        "VTK ended with exit status 1: vtkXOpenGLRenderWindow, with VTK_DEFAULT_OPENGL_WINDOW=vtkXOpenGLRenderWindow"
    )


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_elsewhere_vtk_is_left_to_itself(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    environment: dict[str, str] = {}
    graphics.prepare_environment(environment)
    assert environment == {} and not graphics._may_install()
    assert graphics.remedy() == "a graphics driver with OpenGL 3.2 or newer"


# --- the line to type


@pytest.mark.parametrize(
    ("release", "root", "line"),
    [
        (DEBIAN, True, APT),
        (DEBIAN, False, APT_SUDO),
        (UBUNTU, False, APT_SUDO),
        (MINT, True, APT),
        (ELEMENTARY, False, APT_SUDO),
        (FEDORA, True, DNF_SUDO.removeprefix("sudo ")),
        (FEDORA, False, DNF_SUDO),
        (RHEL, False, DNF_SUDO),
        (ROCKY, False, DNF_SUDO),
    ],
)
def test_the_line_to_type(release: dict[str, str], root: bool, line: str) -> None:
    assert graphics.advice(release, root) == line


@pytest.mark.parametrize("release", [ARCH, {}, {"ID": "", "ID_LIKE": ""}, {"ID": "debianish"}])
def test_an_unknown_system_is_told_the_libraries(release: dict[str, str]) -> None:
    assert "libEGL" in graphics.advice(release, True) and "install" not in graphics.advice(release, False)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def tool(tools: Path) -> Callable[[str, str], None]:
    """Puts a program of the shell's own words there."""

    def put(name: str, words: str) -> None:
        (tools / name).write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
        (tools / name).chmod(0o755)

    return put


@needs_linux
def test_what_is_installed_is_not_asked_for_again(
    tool: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphics, "_os_release", lambda: DEBIAN)
    monkeypatch.setattr(graphics, "_is_root", lambda: False)
    assert graphics.remedy() == APT_SUDO  # there is no dpkg-query
    tool("dpkg-query", "echo installed; echo 'no packages found' >&2; exit 1")
    assert graphics.remedy() == APT_SUDO
    tool("dpkg-query", "echo installed; echo config-files")
    assert graphics.remedy() == APT_SUDO
    tool("dpkg-query", 'test "$3 $4" = "libegl1 libgl1-mesa-dri" && echo installed && echo installed')
    assert graphics.remedy() == "a graphics driver that works (libegl1 and libgl1-mesa-dri are installed)"


@needs_linux
def test_a_system_that_does_not_say_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file() -> dict[str, str]:
        raise OSError("no os-release")

    monkeypatch.setattr("platform.freedesktop_os_release", no_file)
    assert "libEGL" in graphics.remedy()


def test_the_refusal_has_the_line_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "remedy", lambda: APT_SUDO)
    refused = refusal(child("print('0 0 255\\n0 0 255')"))
    assert refused.message() == (
        "error[RESOURCE_GRAPHICS]: no picture can be drawn here (the picture that VTK drew is empty); "
        f"install what is missing: {APT_SUDO}"
    )
    assert refused.message("zh").endswith(f"请安装缺少的组件：{APT_SUDO}")


# --- the installation


class Machine:
    """A Debian on which nothing can be drawn until its apt-get has installed something."""

    def __init__(self, folder: Path, tool: Callable[[str, str], None], patch: pytest.MonkeyPatch) -> None:
        self.log, self.drawn, self.updated = folder / "log", folder / "drawn", folder / "updated"
        self.lists = folder / "lists"
        self.lists.mkdir()
        self.release, self.root, self.tool = DEBIAN, True, tool
        program = (
            f"import pathlib; good = pathlib.Path({str(self.drawn)!r}).exists()\n"
            "print('255 0 0' if good else '0 0 255')\nprint('0 0 255')"
        )
        self.command = child(program)
        patch.setattr(graphics, "_APT_LISTS", self.lists)
        patch.setattr(graphics, "_os_release", lambda: self.release)
        patch.setattr(graphics, "_is_root", lambda: self.root)
        self.apt(f": > '{self.drawn}'")

    def apt(self, install: str, update: str = ":") -> None:
        log = f"echo \"$* [$DEBIAN_FRONTEND] [$NEEDRESTART_SUSPEND]\" >> '{self.log}'"
        self.tool("apt-get", f'{log}\ncase "$3" in\nupdate) {update};;\ninstall) {install};;\nesac')

    def done(self) -> list[str]:
        """What apt-get was told, in its order."""
        said = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        assert all(line.endswith(" [noninteractive] [1]") for line in said)
        return [line.removesuffix(" [noninteractive] [1]") for line in said]

    def install(self, install: Callable[[float, Sequence[str]], None] = graphics.install_graphics) -> None:
        install(30, self.command)


@pytest.fixture
def machine(tmp_path: Path, tool: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, tool, monkeypatch)


@needs_linux
def test_root_gets_the_packages(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.install()
    assert machine.done() == [UPDATE, INSTALL]  # as in a container's image, which knows no package at first
    shown = capfd.readouterr().out.splitlines()
    assert "libraries" in shown[0] and shown[1:] == [f"+ apt-get {UPDATE}", f"+ apt-get {INSTALL}"]
    machine.install()
    assert len(machine.done()) == 2 and capfd.readouterr() == ("", "")


@needs_linux
def test_lists_that_are_there_are_used(machine: Machine) -> None:
    (machine.lists / "deb.debian.org_main_binary-amd64_Packages.lz4").touch()
    machine.install()
    assert machine.done() == [INSTALL]


@needs_linux
def test_lists_that_are_too_old_are_fetched_again(machine: Machine) -> None:
    (machine.lists / "deb.debian.org_main_binary-amd64_Packages").touch()
    machine.apt(install=f"[ -e '{machine.updated}' ] && : > '{machine.drawn}'", update=f": > '{machine.updated}'")
    machine.install()
    assert machine.done() == [INSTALL, UPDATE, INSTALL]


@needs_linux
def test_a_failed_update_does_not_keep_from_trying(machine: Machine) -> None:
    machine.apt(install=f": > '{machine.drawn}'", update="exit 100")
    machine.install()
    assert machine.done() == [UPDATE, INSTALL]


@needs_linux
@pytest.mark.parametrize("install", ["exit 100", ":"], ids=["apt-get fails", "it helps nothing"])
def test_an_installation_in_vain_is_a_refusal(
    install: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.apt(install=install)
    monkeypatch.setattr(graphics, "install_graphics", machine.install)
    assert graphics.main(["--install"]) == 5
    assert machine.done() == [UPDATE, INSTALL]
    line = "error[RESOURCE_GRAPHICS]: no picture can be drawn here (the picture that VTK drew is empty); "
    assert capfd.readouterr().err == f"{line}install what is missing: {APT}\n"


@needs_linux
@pytest.mark.parametrize(
    ("release", "root", "line"), [(DEBIAN, False, APT_SUDO), (FEDORA, True, DNF_SUDO.removeprefix("sudo "))]
)
def test_where_it_may_not_it_only_says_the_line(
    release: dict[str, str], root: bool, line: str, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.release, machine.root = release, root
    with pytest.raises(Refusal) as refused:
        machine.install()
    assert refused.value.facts["command"] == line
    assert machine.done() == [] and capfd.readouterr().out == ""


@needs_linux
def test_without_apt_get_it_only_says_the_line(machine: Machine, tools: Path) -> None:
    (tools / "apt-get").unlink()
    with pytest.raises(Refusal, match="apt-get install"):
        machine.install()


@needs_linux
def test_what_is_installed_is_not_installed_again(machine: Machine) -> None:
    machine.tool("dpkg-query", "echo installed; echo installed")
    with pytest.raises(Refusal, match="a graphics driver that works"):
        machine.install()
    assert machine.done() == []


@needs_linux
def test_without_vtk_nothing_is_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Refusal, match="RESOURCE_MISSING_LIBRARY"):
        machine.install()
    assert machine.done() == []


def test_the_check_alone_installs_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "check_graphics", partial(graphics.check_graphics, 30, machine.command))
    assert graphics.main([]) == 5 and machine.done() == []
