"""A session with the engine in this process: what the command line and the worker process hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import Refusal

if TYPE_CHECKING:
    from ..engine.bundle_install import Installed
    from ..engine.classifier import Classifier, EvidenceWish
    from ..engine.result import Classification
    from ..engine.runtimes import Device, Precision
    from ..engine.volume import Case, Volume
    from .intake import Found

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

    def install(self, source: Path, progress: Progress | None = None) -> Installed:
        """Import a bundle folder or zip: verified whole, its self-test replayed here, then copied to the user's folder.

        The warm bundle is let go of. Raises Refusal, which leaves nothing behind: bundle_install.install says which.
        """
        self.close()
        with _told_what_is_missing("checking a bundle"):
            from ..engine.bundle_install import install

            return install(source, progress or (lambda stage, fraction: None))

    def read(self, source: Path, series: str | None = None, progress: Progress | None = None) -> Found:
        """The volume of an image file, a DICOM folder or a zip of either, or the series there to choose from.

        series: SeriesInstanceUID of the one to read. Raises Refusal: intake.find says which.
        """
        with _told_what_is_missing("reading images"):
            from .intake import find

            return find(source, series, progress or (lambda stage, fraction: None))

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
    """A loaded, self-tested bundle."""
    with _told_what_is_missing("classification"):
        from ..engine import bundle as bundles
        from ..engine.classifier import Classifier

        return Classifier(bundles.load(bundle), *settings)


@contextmanager
def _told_what_is_missing(purpose: str) -> Iterator[None]:
    """Slicer does not ship every library that the engine needs: one that is missing becomes a Refusal."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise Refusal(
            "RESOURCE_MISSING_LIBRARY",
            library=missing.name,
            purpose=purpose,
            command=f"pip install {missing.name}",
        ) from missing


def _stamp(bundle: Path) -> tuple[int, int] | None:
    """What changes when a bundle is replaced; None where there is none (loading it says so)."""
    try:
        status = (bundle / "manifest.json").stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
