"""Pictures of slice views, composited on the CPU by the same pipeline that Slicer's views show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .views import fitSlice, sliceLogic

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sliceImage(scene: Any, sliceName: str, size: tuple[int, int]) -> NDArray[Any]:
    """The view 'Red', 'Green' or 'Yellow' as uint8 [height, width, 3], top row first. size: (width, height).

    Needs no window and no OpenGL. The view takes that size, fitted to its background at its present offset;
    its XYToRAS then belongs to the picture (x to the right, y upwards from the bottom row).
    Raises ValueError where the view shows nothing.
    """
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    logic = sliceLogic(scene, sliceName)
    background = scene.GetNodeByID(logic.GetSliceCompositeNode().GetBackgroundVolumeID() or "")
    if background is None:
        raise ValueError(f"the {sliceName} view shows no volume")
    logic.GetSliceNode().SetDimensions(*size, 1)
    fitSlice(logic, background)
    connection = logic.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[1], size[0], -1)
    return np.ascontiguousarray(pixels[::-1, :, :3])
