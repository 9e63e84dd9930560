"""A session with the engine in this process: what the command line and the worker process hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import Refusal

if TYPE_CHECKING:
    from ..engine.classifier import Classifier, EvidenceWish
    from ..engine.result import Classification
    from ..engine.runtimes import Device, Precision
    from ..engine.volume import Case, Volume

Progress = Callable[[str, float], None]
"""Called with the stage and its fraction done, 0..1; raising `Refusal("CANCELLED")` in it ends the run."""


class Session:
    """Classifies cases; keeps the last bundle warm, so that a second volume does not wait for loading.

    A bundle is loaded (and its hashes checked) again when its manifest has changed on disk.
    """

    def __init__(self) -> None:
        self._warm: tuple[tuple[object, ...], Classifier] | None = None

    def classify(
        self,
        case: Case | Volume,
        bundle: Path,
        device: Device = "auto",
        precision: Precision = "float32",
        batch: int = 16,
        runtime: str = "auto",
        threads: int | None = None,
        evidence: EvidenceWish = "network",
        progress: Progress | None = None,
    ) -> Classification:
        """The classification of a case (or of the one volume of a case) by a bundle.

        batch: slices at a time; runtime: 'auto' or a name of runtimes.RUNTIMES; threads: of the CPU, all if not given.
        Raises Refusal: bundle or input refused, library or memory missing, cancelled.
        """
        return self._classifier(bundle, device, precision, batch, runtime, threads).classify(case, progress, evidence)

    def close(self) -> None:
        """Let go of the bundle and the memory that it holds. The next `classify` loads it again."""
        self._warm = None

    def _classifier(self, bundle: Path, *settings: Any) -> Classifier:
        key = (bundle.resolve(), _stamp(bundle), *settings)
        if self._warm is None or self._warm[0] != key:
            self._warm = None  # two bundles never stand in memory together
            self._warm = (key, _load(bundle, *settings))
        return self._warm[1]


def _load(bundle: Path, *settings: Any) -> Classifier:
    """A loaded, self-tested bundle. Slicer does not ship every library that this needs."""
    try:
        from ..engine import bundle as bundles
        from ..engine.classifier import Classifier

        return Classifier(bundles.load(bundle), *settings)
    except ModuleNotFoundError as missing:
        raise Refusal(
            "RESOURCE_MISSING_LIBRARY",
            library=missing.name,
            purpose="classification",
            command=f"pip install {missing.name}",
        ) from missing


def _stamp(bundle: Path) -> tuple[int, int] | None:
    """What changes when a bundle is replaced; None where there is none (loading it says so)."""
    try:
        status = (bundle / "manifest.json").stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
