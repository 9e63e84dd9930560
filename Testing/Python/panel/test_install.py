"""The question in Slicer and what follows, with doubles for Slicer's packaging, its timer and its PyTorch extension."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.installation import libraries, steps

MISSING = libraries.Needs(("onnxruntime>=1.20",), ())


class Slicer:
    """What panel/install.py touches of Slicer and Qt. Timers run when `turn` is called."""

    def __init__(self) -> None:
        self.testing, self.busy = False, False
        self.pip_calls: list[dict[str, Any]] = []
        self.pip_error: Exception | None = None
        self.timers: list[Callable[[], None]] = []

    def pip_install(self, requirements: list[str], **keywords: Any) -> None:
        # the keywords of Slicer 5.12 and of later ones; `parent` is not one of the latter
        assert keywords.keys() <= {
            *("constraints", "no_deps_requirements", "skip_packages", "blocking", "show_progress"),
            *("requester", "logCallback", "completedCallback"),
        }
        if self.pip_error:
            raise self.pip_error
        self.pip_calls.append({"requirements": requirements, **keywords})

    def turn(self, most: int = 1000) -> None:
        import time

        while self.timers and most:
            most -= 1
            self.timers.pop(0)()
            time.sleep(0.01)

    def modules(self, packaging: bool = True) -> dict[str, ModuleType | None]:
        slicer, qt = ModuleType("slicer"), ModuleType("qt")
        vars(slicer)["app"] = SimpleNamespace(testingEnabled=lambda: self.testing, translate=lambda context, text: text)
        vars(qt)["QTimer"] = SimpleNamespace(singleShot=lambda _ms, call: self.timers.append(call))
        found: dict[str, ModuleType | None] = {"slicer": slicer, "qt": qt, "slicer.packaging": None}
        if packaging:
            module = ModuleType("slicer.packaging")
            vars(module).update(pip_install=self.pip_install, isPipInstallInProgress=lambda: self.busy)
            vars(slicer)["packaging"] = found["slicer.packaging"] = module
        return found


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, so that what is left behind is seen."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Slicer:
    return Slicer()


@pytest.fixture
def install(application: Slicer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """panel/install.py, loaded among the doubles."""
    import MedImgClassifierLib.translation  # noqa: F401 - with whatever slicer there is
    from MedImgClassifierLib import panel

    name = "MedImgClassifierLib.panel.install"
    before = sys.modules.pop(name, None)
    for key, module in application.modules().items():
        monkeypatch.setitem(sys.modules, key, module)
    yield importlib.import_module(name)
    del sys.modules[name], panel.install  # type: ignore[attr-defined]
    if before:
        sys.modules[name] = panel.install = before  # type: ignore[attr-defined]


class Panel:
    """Presses Classify: an Installer whose question is answered by `answer`."""

    def __init__(self, install: Any, answer: steps.Choice | None = "light") -> None:
        self.answer, self.asked = answer, 0
        self.ready, self.refusals, self.progress = 0, [], []  # type: ignore[var-annotated]
        self.installer = install.Installer(None, [sys.executable], self._ask)

    def classify(self) -> None:
        self.installer.start(self._ready, self.refusals.append, lambda *shown: self.progress.append(shown))

    def _ready(self) -> None:
        self.ready += 1

    def _ask(self, parent: Any, needs: libraries.Needs) -> steps.Choice | None:
        self.asked += 1
        return self.answer

    @property
    def codes(self) -> list[str]:
        return [refusal.code for refusal in self.refusals]


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """onnxruntime is missing as long as no test says otherwise; what verifies is content."""
    monkeypatch.setattr(libraries, "needed", lambda: MISSING)
    check = tmp_path / "check.py"
    check.write_text('import sys; open(sys.argv[1], \'w\').write(\'{"failed": "", "reason": ""}\')', encoding="utf-8")
    monkeypatch.setattr(steps, "CHECK", check)


def test_where_nothing_is_missing_nothing_is_asked_or_installed(
    install: Any, application: Slicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "needed", lambda: libraries.Needs((), ()))
    application.testing = True
    panel = Panel(install)
    panel.classify()
    assert (panel.ready, panel.asked, panel.refusals) == (1, 0, [])
    assert not application.pip_calls and not application.timers and not panel.installer.running


def test_making_an_installer_does_nothing(install: Any, application: Slicer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "needed", lambda: pytest.fail("it looked"))
    panel = Panel(install)
    assert panel.asked == 0 and not application.timers


def test_one_question_then_pip_without_blocking_then_ready(
    install: Any, application: Slicer, missing: None, temporary: Path
) -> None:
    panel = Panel(install)
    panel.classify()
    assert panel.asked == 1 and panel.installer.running and panel.ready == 0
    (call,) = application.pip_calls
    assert call["blocking"] is False and call["show_progress"] is False
    assert "onnxruntime>=1.20" in call["requirements"] and call["no_deps_requirements"] is None
    assert "numpy==" in Path(call["constraints"]).read_text(encoding="utf-8")
    call["logCallback"]("Downloading onnxruntime (17 MB)")
    application.turn(1)
    assert panel.progress[-1] == ("Installing libraries", "Downloading onnxruntime (17 MB)")
    call["completedCallback"](0)
    application.turn()
    assert panel.progress[-1][0] == "Checking that the libraries load"
    assert (panel.ready, panel.refusals, panel.asked) == (1, [], 1) and not panel.installer.running
    assert list(temporary.iterdir()) == []


def test_declined_is_told_once_and_asked_again_only_at_the_next_classify(
    install: Any, application: Slicer, missing: None
) -> None:
    panel = Panel(install, answer=None)
    panel.classify()
    application.turn()
    assert (panel.codes, panel.asked, panel.ready) == (["CANCELLED_INSTALL_DECLINED"], 1, 0)
    assert not application.timers and not application.pip_calls
    panel.classify()
    assert panel.asked == 2


def test_a_failure_is_told_once_with_its_reason(install: Any, application: Slicer, missing: None) -> None:
    panel = Panel(install)
    panel.classify()
    application.pip_calls[0]["logCallback"]("ProxyError('Cannot connect to proxy.')")
    application.pip_calls[0]["completedCallback"](1)
    application.turn()
    assert panel.codes == ["RESOURCE_INSTALL_PROXY"] and panel.ready == 0 and not panel.installer.running
    assert len(application.pip_calls) == 1


def test_pip_that_cannot_be_started_is_told(install: Any, application: Slicer, missing: None) -> None:
    application.pip_error = RuntimeError("PythonSlicer executable not found")
    panel = Panel(install)
    panel.classify()
    assert panel.codes == ["RESOURCE_INSTALL_FAILED"] and "PythonSlicer" in str(panel.refusals[0])


def test_cancel_tells_at_once_and_pip_ending_later_changes_nothing(
    install: Any, application: Slicer, missing: None
) -> None:
    panel = Panel(install)
    panel.classify()
    panel.installer.cancel()
    assert panel.codes == ["CANCELLED_INSTALL"] and not panel.installer.running
    application.pip_calls[0]["completedCallback"](0)
    application.turn()
    assert (panel.codes, panel.ready) == (["CANCELLED_INSTALL"], 0)
    assert not Path(application.pip_calls[0]["constraints"]).exists()


def test_a_panel_that_closes_is_not_called_any_more(install: Any, application: Slicer, missing: None) -> None:
    panel = Panel(install)
    panel.classify()
    panel.installer.close()
    application.pip_calls[0]["completedCallback"](0)
    application.turn()
    assert panel.codes == [] and panel.ready == 0


def test_classify_pressed_twice_is_an_error_of_the_caller(install: Any, application: Slicer, missing: None) -> None:
    panel = Panel(install)
    panel.classify()
    with pytest.raises(RuntimeError):
        panel.classify()
    assert panel.asked == 1
    panel.installer.close()


def test_another_installation_is_waited_for(install: Any, application: Slicer, missing: None) -> None:
    application.busy = True
    panel = Panel(install)
    panel.classify()
    assert panel.codes == ["RESOURCE_INSTALL_BUSY"] and panel.asked == 0


def test_a_slicer_under_test_is_never_installed_into(install: Any, application: Slicer, missing: None) -> None:
    application.testing = True
    panel = Panel(install)
    panel.classify()
    assert panel.codes == ["RESOURCE_MISSING_LIBRARY"] and panel.asked == 0 and not application.pip_calls


def test_a_slicer_without_packaging_says_what_to_type(
    install: Any, application: Slicer, missing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, module in application.modules(packaging=False).items():
        monkeypatch.setitem(sys.modules, key, module)
    panel = Panel(install)
    panel.classify()
    assert panel.codes == ["RESOURCE_MISSING_LIBRARY"] and panel.asked == 0
    text = str(panel.refusals[0])
    assert "onnxruntime>=1.20" in text and "PythonSlicer -m pip install -r" in text and "requirements.txt" in text


# --- the PyTorch extension


def extension(monkeypatch: pytest.MonkeyPatch, install_torch: Any) -> None:
    module = ModuleType("PyTorchUtils")
    module.__spec__ = ModuleSpec("PyTorchUtils", None)
    vars(module)["PyTorchUtilsLogic"] = lambda: SimpleNamespace(installTorch=install_torch)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)


def test_without_the_extension_it_is_said_how_to_get_it(install: Any, application: Slicer, missing: None) -> None:
    panel = Panel(install, answer="gpu")
    panel.classify()
    assert panel.codes == ["RESOURCE_PYTORCH_EXTENSION"] and not application.pip_calls


def test_a_panel_that_closes_while_the_extension_works_is_not_called_any_more(
    install: Any, application: Slicer, missing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "TORCH", {"torch": ">=99", "torchvision": ">=99"})
    panel = Panel(install, answer="gpu")
    extension(monkeypatch, lambda: panel.installer.close() or object())
    panel.classify()
    application.pip_calls[0]["completedCallback"](0)
    application.turn()
    assert panel.codes == [] and panel.ready == 0 and not panel.installer.running


def test_every_form_of_its_keywords_is_called_rightly(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    got: list[Any] = []
    monkeypatch.setenv("PIP_CONSTRAINT", "theirs.txt")

    def oldest() -> object:
        return got.append(os.environ["PIP_CONSTRAINT"]) or object()

    def of_2024(
        askConfirmation: bool = True,  # noqa: N803
        forceComputationBackend: str | None = None,  # noqa: N803
        torchVersionRequirement: str | None = None,  # noqa: N803
    ) -> object:
        return got.append((askConfirmation, forceComputationBackend, torchVersionRequirement)) or object()

    def any_keyword(**keywords: object) -> object:
        return got.append(keywords) or object()

    constraints = tmp_path / "a b" / "constraints.txt"
    for form in (oldest, of_2024, any_keyword):
        extension(monkeypatch, form)
        install._SlicerHost().install_torch(constraints)
    assert got == [
        f"theirs.txt {constraints.as_uri()}",
        (False, None, ">=2.6,!=2.13.*"),
        {
            "askConfirmation": False,
            "torchVersionRequirement": ">=2.6,!=2.13.*",
            "torchvisionVersionRequirement": ">=0.18",
        },
    ]
    assert os.environ["PIP_CONSTRAINT"] == "theirs.txt"


def test_its_no_and_its_failures_are_told(install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    extension(monkeypatch, lambda: None)
    with pytest.raises(Refusal, match="CANCELLED_INSTALL_DECLINED"):
        install._SlicerHost().install_torch(tmp_path / "c.txt")

    def broken() -> None:
        raise ValueError("Failed to install PyTorch.\nlong text")

    extension(monkeypatch, broken)
    with pytest.raises(Refusal, match=r"RESOURCE_INSTALL_TORCH.*Failed to install PyTorch\.\)"):
        install._SlicerHost().install_torch(tmp_path / "c.txt")
    assert "PIP_CONSTRAINT" not in os.environ


def test_real_pip_takes_the_constraint_from_a_folder_with_a_space(install: Any, tmp_path: Path) -> None:
    import subprocess

    import tiny_wheels

    wheels = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        tiny_wheels.write(wheels, "tinytorch", version)
    constraints = tmp_path / "a b" / "constraints.txt"
    constraints.parent.mkdir()
    constraints.write_text("tinytorch==1.0\n", encoding="utf-8")
    words = ["download", "-q", "--no-index", "--find-links", str(wheels), "--dest", str(tmp_path), "tinytorch"]
    with install._constrained(constraints):
        subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    assert [path.name for path in tmp_path.glob("*.whl")] == ["tinytorch-1.0-py3-none-any.whl"]


# --- the question itself, with real widgets


@pytest.mark.parametrize(
    ("button", "chosen"),
    [("Small and fast", "light"), ("GPU (PyTorch)", "gpu"), ("From an offline kit...", Path("kit.zip")), ("", None)],
)
def test_the_question(module: ModuleType, monkeypatch: pytest.MonkeyPatch, button: str, chosen: Any) -> None:
    import qt

    from MedImgClassifierLib.panel import install

    boxes: list[Any] = []

    def press(box: Any) -> int:
        boxes.append(box)
        for each in box.buttons():
            if (each.text == button) if button else box.buttonRole(each) == qt.QMessageBox.RejectRole:
                each.click()
        return 0

    monkeypatch.setattr(qt.QMessageBox, "exec_", press, raising=False)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "kit.zip")  # PythonQt gives the path alone
    needs = libraries.Needs(("onnxruntime>=1.20", "rpds-py>=0.25"), ("rpds-py>=0.25",))
    assert install.askWhatToInstall(None, needs) == chosen
    (box,) = boxes
    assert "rpds-py>=0.25" in box.detailedText and "not finished" in box.detailedText
    assert "20 MB" in box.informativeText and "2-3 GB" in box.informativeText


def test_no_kit_chosen_is_a_no(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    from MedImgClassifierLib.panel import install

    def press_kit(box: Any) -> int:
        next(each for each in box.buttons() if "kit" in each.text).click()
        return 0

    monkeypatch.setattr(qt.QMessageBox, "exec_", press_kit, raising=False)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "")
    assert install.askWhatToInstall(None, MISSING) is None
