"""Whether this computer can draw the viewer's pictures, and what it lacks for that.

VTK's wheels bring no OpenGL. On Linux they load the system's libEGL, which draws without a screen and, with Mesa's
drivers, without a graphics card. Where that is missing VTK does not raise: the process ends with a segmentation fault.
So a small picture is drawn in a process of its own before anything else is.

`python -m MedImgClassifierLib.viewer.graphics [--install]` says what is missing, and installs it where it may.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from ..engine.errors import Refusal, first_line
from ..worker.process import apart, end_tree

TIMEOUT_S = 60.0  # it takes half a second; a cold disk has 200 MB to read

_VARIABLE, _EGL = "VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow"

# libegl1 alone has no driver in Debian 12 and Ubuntu 24.04. libosmesa6 would do too, but is gone from newer ones.
_APT_PACKAGES = ("libegl1", "libgl1-mesa-dri")
_APT_INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", *_APT_PACKAGES)
_DNF_INSTALL = ("dnf", "install", "-y", "mesa-libEGL", "mesa-dri-drivers")
_APT_LISTS = Path("/var/lib/apt/lists")

# -P: the folder in which the viewer is started may be a stranger's, and no module is taken from there.
_DRAW = "import sys; sys.path.append(sys.argv[1]); from MedImgClassifierLib.viewer.graphics import draw; draw()"
_COMMAND = (sys.executable, "-P", "-c", _DRAW, str(Path(__file__).resolve().parents[2]))
_BALL, _GROUND = "255 0 0", "0 0 255"

# What VTK writes before it crashes, and what that means.
_SIGNS = {
    "Failed to load EGL": "the system library libEGL is missing",
    "Unable to find a valid OpenGL": "the system library libEGL finds no OpenGL driver",
    "Failed to load an X11 library": "the system library libX11 is missing",
    "libOSMesa not found": "the system library libOSMesa is missing",
}


def prepare_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have VTK draw through EGL on Linux, unless the user has said otherwise. Call it before the first render window.

    Left to itself VTK tries X first: it crashes where libX11 is missing, and over `ssh -X` it draws on the far screen.
    """
    if sys.platform == "linux":
        environment.setdefault(_VARIABLE, _EGL)


def check_graphics(timeout: float = TIMEOUT_S, command: Sequence[str] = _COMMAND) -> None:
    """Draw a small picture in a process of its own, which takes half a second.

    timeout: seconds for that; command: what draws and says what it sees, as `draw` does.
    Raises Refusal(RESOURCE_GRAPHICS), and RESOURCE_MISSING_LIBRARY where VTK itself is not installed.
    """
    if importlib.util.find_spec("vtkmodules") is None:
        wanted = "pip install 'medimgclassifier[scene]'"
        raise Refusal("RESOURCE_MISSING_LIBRARY", library="vtk", purpose="the viewer", command=wanted)
    reason = _why_not(timeout, command)
    if reason:
        raise Refusal("RESOURCE_GRAPHICS", reason=reason, command=remedy())


def install_graphics(timeout: float = TIMEOUT_S, command: Sequence[str] = _COMMAND) -> None:
    """`check_graphics`, and where it refuses and root has apt-get, install what is missing and check again."""
    try:
        check_graphics(timeout, command)
    except Refusal as refusal:
        if refusal.code != "RESOURCE_GRAPHICS" or not _may_install():
            raise
        print("The viewer's pictures need libraries of this system (about 50 MB to download):", flush=True)
        _apt_install()
        check_graphics(timeout, command)


def remedy() -> str:
    """The line to type here so that pictures can be drawn, or in words what is missing."""
    if sys.platform != "linux":
        return "a graphics driver with OpenGL 3.2 or newer"
    release = _os_release()
    if _uses_apt(release) and _apt_has_installed():
        return f"a graphics driver that works ({' and '.join(_APT_PACKAGES)} are installed)"
    return advice(release, _is_root())


def advice(release: Mapping[str, str], root: bool) -> str:
    """What installs the libraries on a Linux system. release: its /etc/os-release; root: whether no sudo is needed."""
    sudo = () if root else ("sudo",)
    if _uses_apt(release):
        return f"{shlex.join((*sudo, 'apt-get', 'update'))} && {shlex.join((*sudo, *_APT_INSTALL))}"
    if "fedora" in _kin(release):  # RHEL and all that are made of it say so too
        return shlex.join((*sudo, *_DNF_INSTALL))
    return "libEGL (of libglvnd) and Mesa's EGL with its software renderer, from the packages of this system"


def draw() -> None:
    """A red ball on blue, and the colours of middle and corner on stdout. For a process of its own: VTK may crash."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the crash is an answer, not an accident to be filed
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (gives the classes of vtkRenderingCore their OpenGL)
    from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
    from vtkmodules.vtkFiltersSources import vtkSphereSource
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer, vtkRenderWindow

    ball, mapper, actor = vtkSphereSource(), vtkPolyDataMapper(), vtkActor()
    mapper.SetInputConnection(ball.GetOutputPort())
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(1, 0, 0)
    actor.GetProperty().LightingOff()
    renderer, window = vtkRenderer(), vtkRenderWindow()
    renderer.AddActor(actor)
    renderer.SetBackground(0, 0, 1)
    window.SetShowWindow(False)
    window.SetOffScreenRendering(True)
    window.SetSize(64, 64)
    window.AddRenderer(renderer)
    window.Render()
    pixels = vtkUnsignedCharArray()
    for at in (32, 1):
        window.GetPixelData(at, at, at, at, 0, pixels, 0)
        print(*(pixels.GetValue(channel) for channel in range(3)))


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or the exit status of the refusal, whose line goes to stderr."""
    parser = argparse.ArgumentParser(description="See whether this computer can draw the viewer's pictures.")
    parser.add_argument("--install", action="store_true", help="install what is missing, as root where apt-get is")
    try:
        (install_graphics if parser.parse_args(arguments).install else check_graphics)()
    except Refusal as refusal:
        print(refusal.message(), file=sys.stderr)
        return refusal.exit_status
    return 0


def _why_not(timeout: float, command: Sequence[str]) -> str:
    """Why the picture did not come or is not the right one; '' where all is well."""
    environment = dict(os.environ)
    prepare_environment(environment)
    try:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **apart(),
        )
    except OSError as failed:
        return first_line(failed)
    with child:
        try:
            said, warnings = (stream.decode("utf-8", "replace") for stream in child.communicate(timeout=timeout))
        except subprocess.TimeoutExpired:
            return f"there was no picture after {timeout:g} s"
        finally:
            if child.poll() is None:  # a Ctrl-C here did not reach it either
                end_tree(child)
    if child.returncode == 0 and said.splitlines()[-2:] == [_BALL, _GROUND]:
        return ""
    reason = next((meaning for sign, meaning in _SIGNS.items() if sign in warnings), "")
    return (reason or _ending(child.returncode, said, warnings)) + _chosen()


def _ending(code: int, said: str, warnings: str) -> str:
    """How it ended, where VTK did not say what it lacks."""
    if code == 0 and said.splitlines()[-2:] == [_GROUND, _GROUND]:
        return "the picture that VTK drew is empty"
    if code == 0:
        return f"the picture that VTK drew is wrong: {said[:80]!r}"
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    if -code in set(signal.Signals):
        how = signal.Signals(-code).name
    last = (warnings.strip().splitlines() or [""])[-1][:200]
    return f"VTK ended with {how}: {last}" if last else f"VTK ended with {how}"


def _chosen() -> str:
    """What the user has said about it: it may be the cause."""
    choice = os.environ.get(_VARIABLE, _EGL)
    return "" if choice == _EGL else f", with {_VARIABLE}={choice}"


def _may_install() -> bool:
    on_apt = sys.platform == "linux" and _uses_apt(_os_release()) and shutil.which("apt-get") is not None
    return on_apt and _is_root() and not _apt_has_installed()


def _apt_install() -> None:
    """Whether it succeeded is seen in the pictures."""
    fresh = any(_APT_LISTS.glob("*_Packages*"))
    if not fresh:  # a container's image has none
        _apt_get("update")
    if not _apt_get(*_APT_INSTALL[1:]) and fresh:  # they were, but not of late: the packages have gone from the server
        _apt_get("update")
        _apt_get(*_APT_INSTALL[1:])


def _apt_get(*words: str) -> bool:
    # A server that has just started is still updating itself: wait for that instead of failing.
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words]
    print(f"+ {shlex.join(command)}", flush=True)
    # Nothing asks a question, and on Ubuntu no service is restarted on this occasion.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _apt_has_installed() -> bool:
    """Whether what would be advised is there already, and something else is wrong."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\n", *_APT_PACKAGES]
    try:
        found = subprocess.run(query, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return found.stdout.split() == ["installed"] * len(_APT_PACKAGES)


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _uses_apt(release: Mapping[str, str]) -> bool:
    return bool(_kin(release) & {"debian", "ubuntu"})


def _kin(release: Mapping[str, str]) -> set[str]:
    """A distribution and those that it descends from."""
    return {release.get("ID", ""), *release.get("ID_LIKE", "").split()}


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


if __name__ == "__main__":
    sys.exit(main())
