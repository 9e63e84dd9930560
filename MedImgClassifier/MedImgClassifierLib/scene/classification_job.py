"""From volume nodes to the nodes of a result in short steps: a timer drives it, and the application stays alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..translation import _
from . import binding, result_nodes
from .restriction import restricted, widened
from .voxel_copy import VoxelCopy

if TYPE_CHECKING:
    from ..engine.result import Classification
    from ..engine.volume import Case, Volume
    from ..worker.client import Client, Run
    from .result_nodes import ResultNodes

COPY_S = 0.015
"""What one step copies before the application gets its turn again."""


class ClassificationJob:
    """One classification under way.

    volumes: the scene's volume nodes by channel of the bundle; the first is the reference, on which the result lies.
    restriction: the slices to classify, as restriction.record tells them; None for all. settings: as Session.classify
    takes them.

    stage: 'copy', those of worker.client.Run, then 'show'; fraction: of the stage, 0..1; seconds_left: of the stage,
    None while nothing can be said. blocks: stage -> its longest step so far in seconds, which is for how long the
    application stood still; began: by time.monotonic. Nodes are held by id: any of them may go while the application
    handles events.
    """

    def __init__(
        self,
        client: Client,
        volumes: Mapping[str, Any],
        bundle: Path,
        restriction: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.stage, self.fraction = "copy", 0.0
        self.seconds_left: float | None = None
        self.ended = False
        self.began = time.monotonic()
        self.blocks: dict[str, float] = {}
        self.classification: Classification | None = None
        self._client, self._bundle, self._settings = client, bundle, settings
        self._restriction = restriction
        self._scene = next(iter(volumes.values())).GetScene()
        self._ids = {channel: node.GetID() for channel, node in volumes.items()}
        self._copies = {channel: VoxelCopy(node) for channel, node in volumes.items()}
        self._places: dict[str, binding.Place] = {}  # of the volumes when they were handed over
        self._run: Run | None = None
        self._go_on: Callable[[], None] = self._copy
        self._result: ResultNodes | None = None
        self._failure: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether the next step computes here, and does not only ask the worker."""
        return self.stage in ("copy", "show")

    def step(self) -> bool:
        """Go on a little. True once the job has ended: `result` then tells how."""
        if self.ended:
            return True
        stage, began = self.stage, time.perf_counter()
        try:
            if self._failure is None:
                self._check_nodes()
            self._go_on()
        except Exception as failure:
            self._fail(failure)
        self.blocks[stage] = max(self.blocks.get(stage, 0.0), time.perf_counter() - began)
        return self.ended

    def cancel(self) -> None:
        """Stop; nothing is added to the scene. The job ends within a second, while it is stepped."""
        from ..engine.errors import Refusal

        if not self.ended and self._failure is None:
            self._fail(Refusal("CANCELLED"))

    def result(self) -> ResultNodes:
        """The nodes of the answer. Raises what ended the job otherwise: a Refusal, CANCELLED among them."""
        if self._failure is not None:
            raise self._failure
        assert self._result is not None, "the job has not ended"
        return self._result

    def _nodes(self) -> dict[str, Any]:
        return {channel: self._scene.GetNodeByID(number) for channel, number in self._ids.items()}

    def _check_nodes(self) -> None:
        from ..engine.errors import Refusal

        if None in self._nodes().values():  # the scene was closed, or a volume deleted
            raise Refusal("CANCELLED")

    def _copy(self) -> None:
        until = time.perf_counter() + COPY_S
        for copy in self._copies.values():
            if copy.fraction < 1 and not copy.step(max(until - time.perf_counter(), 0)):
                break
        self.fraction = sum(copy.fraction for copy in self._copies.values()) / len(self._copies)
        if self.fraction == 1:
            self._run = self._client.start(self._case(), self._bundle, **self._settings)
            self._copies = {}
            self._go_on = self._follow
            self.stage, self.fraction = self._run.stage, self._run.fraction

    def _case(self) -> Case | Volume:
        from ..engine.volume import Case

        volumes = {channel: copy.volume() for channel, copy in self._copies.items()}
        self._places = {channel: binding.placeOf(node) for channel, node in self._nodes().items()}
        if self._restriction is not None:
            _checkSameSlices(volumes)
            first, last = self._restriction["first"], self._restriction["last"]
            volumes = {channel: restricted(volume, first, last) for channel, volume in volumes.items()}
        if len(volumes) == 1:
            return next(iter(volumes.values()))
        return Case(volumes, next(iter(volumes)))

    def _follow(self) -> None:
        assert self._run is not None
        if not self._run.poll():
            self.stage, self.fraction = self._run.stage, self._run.fraction
            self.seconds_left = self._run.seconds_left
        elif self._failure is not None:
            self.ended = True
        else:
            answer = self._run.result()
            self.classification = widened(answer, self._restriction) if self._restriction else answer
            self.stage, self.fraction, self.seconds_left = "show", 0.0, None
            self._go_on = self._show

    def _show(self) -> None:
        nodes = self._nodes()
        reference = next(iter(nodes.values()))
        assert self.classification is not None
        self._result = result_nodes.addResult(
            self._scene, reference, self.classification, channels=nodes, places=self._places
        )
        self.fraction, self.ended = 1.0, True

    def _fail(self, failure: BaseException) -> None:
        """End, or first wait until the worker is free again."""
        if self._failure is None:
            self._failure = failure
        self._copies = {}
        if self._run is None or self._run.ended:
            self.ended = True
        else:
            self._run.cancel()
            self._go_on = self._follow


def _checkSameSlices(volumes: Mapping[str, Volume]) -> None:
    """Raise Refusal INPUT_GEOMETRY where K does not name the same slice in every channel."""
    from ..engine.errors import Refusal

    count = len(next(iter(volumes.values())).voxels)
    for channel, volume in volumes.items():
        if len(volume.voxels) != count:
            reason = _("it has {slices} slices, and the reference channel has {expected}")
            raise Refusal(
                "INPUT_GEOMETRY", path=channel, reason=reason.format(slices=len(volume.voxels), expected=count)
            )
