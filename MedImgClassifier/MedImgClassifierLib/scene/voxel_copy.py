"""The voxels of a volume node copied slab by slab, so that the application stays alive meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .geometry import placeKey
from .volumes import volumeWith, voxelsOf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.volume import Volume


class VoxelCopy:
    """Copies a node of a scene in steps for a timer; holds its id, not the node.

    A volume that is changed meanwhile is copied again from the start, once.
    """

    def __init__(self, volumeNode: Any) -> None:
        self._scene, self._id, self._name = volumeNode.GetScene(), volumeNode.GetID(), volumeNode.GetName()
        self._restarted = False
        self._begin(volumeNode)

    @property
    def fraction(self) -> float:
        """What is copied, 0..1."""
        return self._done / len(self._voxels)

    def step(self, seconds: float) -> bool:
        """Copy slices for about so long, at least one. True once all are copied.

        Raises Refusal: CANCELLED where the node is no longer in its scene, INPUT_CHANGING where it was changed a
        second time, and those of volumes.voxelsOf.
        """
        from ..engine.errors import Refusal

        node = self._scene.GetNodeByID(self._id)
        if node is None:
            raise Refusal("CANCELLED")
        if _state(node) != self._state:
            if self._restarted:
                raise Refusal("INPUT_CHANGING", path=self._name)
            self._restarted = True
            self._begin(node)
        until = time.perf_counter() + seconds
        voxels = voxelsOf(node)
        while self._done < len(voxels):
            self._voxels[self._done] = voxels[self._done]
            self._done += 1
            if time.perf_counter() > until:
                break
        return self._done == len(voxels)

    def volume(self) -> Volume:
        """The copy, with the geometry and the identity that the node has now. Raises Refusal as `step` does."""
        from ..engine.errors import Refusal

        node = self._scene.GetNodeByID(self._id)
        if node is None:
            raise Refusal("CANCELLED")
        return volumeWith(node, self._voxels)

    def _begin(self, node: Any) -> None:
        import numpy as np

        voxels = voxelsOf(node)
        self._voxels: NDArray[Any] = np.empty(voxels.shape, voxels.dtype)
        self._done = 0
        self._state = _state(node)


def _state(node: Any) -> tuple[Any, ...]:
    """What differs once voxels, matrix or parent transform have been changed."""
    image = node.GetImageData()
    if image is None:
        return ()
    return (image, image.GetMTime(), placeKey(node))
