"""Classification as a script uses it: volume nodes in, the nodes of a result out. No widgets, no settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..engine.result import Classification
    from ..scene.classification_job import ClassificationJob
    from ..scene.result_nodes import ResultNodes
    from ..worker.client import Client


class ClassificationLogic:
    """pythonCommand: the Python that the inference process runs on."""

    def __init__(self, pythonCommand: Sequence[str]) -> None:
        self.pythonCommand = tuple(pythonCommand)
        self.client: Client | None = None
        self.blocks: Mapping[str, float] = {}  # of the last classification: stage -> its longest step in seconds
        self._read: tuple[Any, Classification | None] = (None, None)

    def bundles(self) -> dict[str, Path]:
        """Installed models, shipped and imported: folders by name; empty where there is none."""
        from .. import resources
        from ..engine.errors import Refusal

        try:
            return resources.bundles()
        except Refusal:
            logging.warning("MedImgClassifier: no model is installed")
            return {}

    def workerClient(self) -> Client:
        """The client of the inference process, which it starts when it is needed."""
        from ..worker.client import Client

        self.client = self.client or Client(self.pythonCommand)
        return self.client

    def start(
        self,
        volumeNodes: Mapping[str, Any],
        bundlePath: Path,
        restriction: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> ClassificationJob:
        """Begin to classify volume nodes {channel: node}; a timer calls `step` of the job that is returned.

        restriction: as scene.restriction.record tells it; settings: as worker.session.Session.classify takes them.
        Raises Refusal.
        """
        from ..scene.classification_job import ClassificationJob

        return ClassificationJob(self.workerClient(), volumeNodes, Path(bundlePath), restriction, **settings)

    def process(
        self,
        volumeNode: Any,
        bundlePath: Path,
        progress: Callable[[str, float], None] | None = None,
        **settings: Any,
    ) -> ResultNodes:
        """Classify the slices of a volume node, add the result to its scene, and wait for it.

        progress(stage, fraction) is called on the way; what it raises ends the work and is raised again.
        Returns the nodes of the result (scene.result_nodes.ResultNodes). An earlier result of the same volume and
        model is replaced. Raises Refusal, which leaves the scene as it was.
        """
        job = self.start({self.channel(bundlePath): volumeNode}, bundlePath, **settings)
        try:
            while not job.step():
                if progress:
                    progress(job.stage, job.fraction)
                time.sleep(0.0 if job.busy else 0.02)
        except BaseException:
            job.cancel()
            while not job.step():
                time.sleep(0.02)
            raise
        result = job.result()
        self.remember(result, job)
        return result

    def channel(self, bundlePath: Path) -> str:
        """Name of the first input of a model."""
        from ..engine.card import read_card

        channels = read_card(Path(bundlePath)).channels
        return channels[0].name if channels else "image"

    def remember(self, result: ResultNodes, job: ClassificationJob) -> None:
        """Take over the answer of a job that has ended, and log it."""
        assert job.classification is not None
        self._read = ((result.provenance, result.provenance.GetMTime()), job.classification)
        self.blocks = job.blocks
        bundle, seconds = job.classification.bundle, time.monotonic() - job.began
        longest = ", ".join(f"{stage} {1000 * block:.0f} ms" for stage, block in job.blocks.items())
        logging.info(f"Classified a volume by {bundle['id']} {bundle['version']} in {seconds:.1f} s ({longest})")

    def classification(self, table: Any) -> Classification | None:
        """The Classification behind a results table; None where its record was deleted or altered."""
        from ..scene import evidence_choice, result_nodes

        record = result_nodes.resultOf(table).provenance
        state = (record, record.GetMTime()) if record else None
        if self._read[0] != state:
            self._read = (state, evidence_choice.recordedClassification(table))
        return self._read[1]

    def forgetResults(self) -> None:
        """Hold on to no node; for a scene that is closed."""
        self._read = (None, None)

    def removeResult(self, table: Any) -> None:
        """Remove a result's table, plot, record and evidence from the scene; a review of it stays."""
        from ..scene import result_nodes

        result_nodes.removeResult(table.GetScene(), table)

    def close(self) -> None:
        """End the inference process."""
        if self.client:
            self.client.close()
