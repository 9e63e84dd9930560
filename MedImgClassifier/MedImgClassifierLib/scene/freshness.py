"""Whether a result in the scene is still true of its inputs, found out at once and then made sure of.

A change is told at once, by what is cheap to compare. Whether it made any difference is then hashed out in short steps,
which a timer of the caller drives; touching a volume without changing it, or undoing a change, makes the result fresh
again. So does nothing for a scene that was just opened: it is 'being checked' first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import slicer
import vtk

from . import binding, nodes
from .geometry import ijkToRas, placeKey

if TYPE_CHECKING:
    from .binding import BoundInput

SLAB_BYTES = 1 << 20
"""What is hashed before the clock is looked at: about a millisecond."""


class Freshness(NamedTuple):
    """reasons: what differs, or may: 'voxels', 'geometry', 'transform', 'bundle', 'input removed', 'unbound' (nothing
    says what was classified); () for nothing. checking: whether that is still being found out."""

    reasons: tuple[str, ...] = ()
    checking: bool = False


class FreshnessWatcher:
    """Watches what one results table of a scene is bound to, until `close`, or until the table or the scene goes.

    manifestSha256: of the bundle as it is installed now, None where it is not; see `setBundle`.
    onChange(Freshness) is called when the answer changes, also from inside the scene's events: it should only take
    note. Nodes are held by id.
    """

    def __init__(
        self, table: Any, manifestSha256: str | None, onChange: Callable[[Freshness], None] | None = None
    ) -> None:
        self._scene, self._tableId = table.GetScene(), table.GetID()
        self._manifestSha256, self._onChange = manifestSha256, onChange
        self._tags: list[tuple[str, int]] = []  # (node id, observer tag)
        self._sceneTags = self._observeScene()
        self._inputs: list[_Input] = []
        self._binding: str | None = None
        self._madeBy = ""
        self._told = Freshness(checking=True)
        self._look()

    @property
    def freshness(self) -> Freshness:
        """As it was told last."""
        return self._told

    @property
    def closed(self) -> bool:
        return not self._sceneTags

    def setBundle(self, manifestSha256: str | None) -> None:
        """Tell the SHA-256 of the manifest of the bundle as it is installed now; None where it is not."""
        self._manifestSha256 = manifestSha256
        self._look()

    def step(self, seconds: float = 0.01) -> bool:
        """Find out for about so long whether what changed makes a difference. True once nothing is left to check."""
        until = time.perf_counter() + seconds
        self._look()
        while (known := next((known for known in self._inputs if not known.settled), None)) is not None:
            known.check(self._scene)
            if time.perf_counter() > until:
                break
        self._look()
        return self.closed or not self._told.checking

    def close(self) -> None:
        """Stop watching and take every observer away."""
        for nodeId, tag in self._tags:
            node = self._scene.GetNodeByID(nodeId)
            if node is not None:
                node.RemoveObserver(tag)
        for tag in self._sceneTags:
            self._scene.RemoveObserver(tag)
        self._tags, self._sceneTags, self._inputs = [], [], []

    def _look(self, caller: Any = None, event: Any = None) -> None:
        """Compare what is cheap to compare, and tell what is new."""
        table = None if self.closed else self._scene.GetNodeByID(self._tableId)
        if table is None:
            return
        if table.GetAttribute(nodes.BINDING) != self._binding:  # a first look, or the result was made anew
            self._binding = table.GetAttribute(nodes.BINDING)
            self._madeBy = binding.manifestSha256(table)
            bound = binding.boundInputs(table)
            self._inputs = [_Input(known, nodes.inputRole(n)) for n, known in enumerate(bound)]
        for known in self._inputs:
            known.look(table.GetNodeReference(known.role))
        self._observe([self._tableId, *(known.nodeId for known in self._inputs if known.nodeId)])
        self._tell()

    def _tell(self) -> None:
        found = [reason for known in self._inputs for reason in known.reasons()]
        if not self._inputs:
            found.append("unbound")
        elif self._madeBy != self._manifestSha256:
            found.append("bundle")
        now = Freshness(tuple(dict.fromkeys(found)), any(not known.settled for known in self._inputs))
        if now != self._told:
            self._told = now
            if self._onChange is not None:
                self._onChange(now)

    def _observeScene(self) -> list[int]:
        """A volume that goes is told by the table, whose reference to it goes too."""
        scene = slicer.vtkMRMLScene
        return [
            self._scene.AddObserver(scene.StartCloseEvent, self._onSceneClose),
            self._scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._onNodeGoing),
        ]

    def _observe(self, wanted: list[str]) -> None:
        """Have observers on these nodes and on no others."""
        watched = {nodeId for nodeId, _tag in self._tags}
        for nodeId in watched - set(wanted):
            self._forget(self._scene.GetNodeByID(nodeId), nodeId)
        for nodeId in dict.fromkeys(wanted):
            if nodeId not in watched:
                node = self._scene.GetNodeByID(nodeId)
                for event in _EVENTS:
                    self._tags.append((nodeId, node.AddObserver(event, self._look)))

    def _forget(self, node: Any, nodeId: str) -> None:
        for watched, tag in self._tags:
            if watched == nodeId and node is not None:
                node.RemoveObserver(tag)
        self._tags = [(watched, tag) for watched, tag in self._tags if watched != nodeId]

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _onNodeGoing(self, caller: Any, event: Any, node: Any) -> None:
        if node.GetID() == self._tableId:
            self.close()
        else:
            self._forget(node, node.GetID())

    def _onSceneClose(self, caller: Any, event: Any) -> None:
        self.close()


_EVENTS = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
    slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
)


class _Input:
    """One input under watch. A key differs once something may have changed; a check says whether it has.

    voxels, place: None while unknown, else whether they are those that were classified.
    """

    def __init__(self, bound: BoundInput, role: str) -> None:
        self.bound, self.role = bound, role
        self.nodeId = ""
        self.voxels: bool | None = None
        self.place: bool | None = None
        self._voxelKey: Any = None
        self._placeKey: Any = None
        self._touched: set[str] = set()
        self._digest: Any = None
        self._hashed = 0

    @property
    def settled(self) -> bool:
        return not self.nodeId or (self.voxels is not None and self.place is not None)

    def reasons(self) -> list[str]:
        if not self.nodeId:
            return ["input removed"]
        return [reason for reason in ("voxels", "geometry", "transform") if reason in self._touched]

    def look(self, node: Any) -> None:
        """Notice what may have changed since the last look."""
        if node is None:
            self.nodeId = ""
            return
        first = node.GetID() != self.nodeId
        self.nodeId = node.GetID()
        image = node.GetImageData()
        voxelKey = image and image.GetMTime()  # VTK counts all modifications of a process: no two images share one
        if first or voxelKey != self._voxelKey:
            self._voxelKey, self.voxels, self._digest = voxelKey, None, None
            if not first:
                self._touched.add("voxels")
        place = (image and image.GetDimensions(), placeKey(node))
        if first or place != self._placeKey:
            self._placeKey, self.place = place, None
            if not first:
                self._touched -= {"geometry", "transform"}
                self._touched.add(self._placeReason(node))

    def check(self, scene: Any) -> None:
        """A little work: the place at once, or a slab of voxels."""
        node = scene.GetNodeByID(self.nodeId)
        if node is None:
            self.nodeId = ""
        elif self.place is None:
            self.place = self._isAtItsPlace(node)
            self._touched -= {"geometry", "transform"}
            if not self.place:
                self._touched.add(self._placeReason(node))
        elif self.voxels is None:
            self._hashSlab(node)

    def _placeReason(self, node: Any) -> str:
        """Whether the volume itself moved, or what it hangs under."""
        import numpy as np

        same = np.allclose(ijkToRas(node), self.bound.ijk_to_ras, rtol=0, atol=1e-5)
        return "transform" if same else "geometry"

    def _isAtItsPlace(self, node: Any) -> bool:
        from ..engine.errors import Refusal

        try:
            return binding.samePlace(binding.classifiedSlices(node, self.bound), self.bound.geometry)
        except (Refusal, ValueError):  # bent slices, or none
            return False

    def _hashSlab(self, node: Any) -> None:
        from ..engine.volume import ContentDigest

        voxels = _voxels(node, self.bound)
        if voxels is None or voxels.shape[:3] != self.bound.geometry.voxels.shape:
            self._settleVoxels(False)
            return
        flat = voxels.reshape(-1).view("u1")
        if self._digest is None:
            self._digest, self._hashed = ContentDigest(voxels.shape, voxels.dtype, self.bound.geometry), 0
        self._digest.update(flat[self._hashed : self._hashed + SLAB_BYTES])
        self._hashed += SLAB_BYTES
        if self._hashed >= len(flat):
            self._settleVoxels(self._digest.hexdigest() == self.bound.content_sha256)
            self._digest = None

    def _settleVoxels(self, same: bool) -> None:
        self.voxels = same
        self._touched.discard("voxels")
        if not same:
            self._touched.add("voxels")


def _voxels(node: Any, bound: BoundInput) -> Any:
    """[K, J, I(, 3)] of the slices that were classified, where they lie in memory; None where there are none."""
    from ..engine.errors import Refusal
    from .volumes import voxelsOf

    try:
        return voxelsOf(node)[bound.first : None if bound.last is None else bound.last + 1]
    except Refusal:
        return None
