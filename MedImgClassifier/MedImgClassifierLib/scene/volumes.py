"""Volume nodes from engine volumes, and engine volumes from volume nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk

from ..translation import _
from . import nodes
from .geometry import rasFromLps, vtkMatrixFromArray, worldGeometry
from .hierarchy import addToHierarchy, itemOf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.volume import Source, Volume

# Voxel value units as Slicer's DICOM reader writes them on a volume node (UCUM).
_UNITS = {"HU": ("[hnsf'U]", "Hounsfield unit"), "SUVbw": ("{SUVbw}g/ml", "Standardized Uptake Value body weight")}


def addVolume(scene: Any, volume: Volume, name: str) -> Any:
    """A scalar volume node (vector volume node for RGB) that shows a Volume, LPS turned to RAS.

    A tilted or unevenly spaced stack is shown on the even stack of `Volume.regular()`; the node then says why
    and by how much the farthest slice moved (attributes MedImgClassifier.Resampled and .LargestShiftMm).
    `acquisition.addAcquiredVolume` shows it without resampling.
    """
    from ..engine.slice_view import display_window

    shown, shift = volume.regular()
    kind = "vtkMRMLVectorVolumeNode" if volume.units == "RGB" else "vtkMRMLScalarVolumeNode"
    node = scene.AddNewNodeByClass(kind, name)
    setVoxels(node, shown.voxels)
    setGeometry(node, shown)
    if volume.irregularity:
        node.SetAttribute(nodes.RESAMPLED, volume.irregularity)
        node.SetAttribute(nodes.LARGEST_SHIFT_MM, f"{shift:.2f}")
        node.SetDescription(
            _("Shown on an even stack: acquired slices are {reason}; largest shift {shift} mm").format(
                reason=volume.irregularity, shift=f"{shift:.1f}"
            )
        )
    _describe(node, shown)
    node.CreateDefaultDisplayNodes()
    if volume.units != "RGB":
        black, white, _words = display_window(shown)
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(black, white)
    return node


def setVoxels(node: Any, voxels: NDArray[Any]) -> None:
    """Give a volume node a copy of voxels [K, J, I] or [K, J, I, 3], in a type that VTK and NRRD know."""
    import numpy as np
    from vtk.util.numpy_support import numpy_to_vtk

    if voxels.dtype == bool:
        voxels = voxels.astype(np.uint8)
    elif voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    elif voxels.dtype.kind in "iu" and voxels.dtype.itemsize == 8:
        fits = abs(int(voxels.min())) < 2**31 and int(voxels.max()) < 2**31
        voxels = voxels.astype(np.int32 if fits else np.float64)
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    flat = np.ascontiguousarray(voxels).reshape(-1, *voxels.shape[3:])
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape[2::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    node.SetAndObserveImageData(image)


def setGeometry(node: Any, volume: Volume) -> None:
    """Place a node where a regular Volume lies. Raises ValueError for an irregular one: no matrix describes it."""
    matrix = volume.ijk_to_lps
    if matrix is None:
        raise ValueError(f"no matrix describes a stack that is {volume.irregularity}")
    node.SetIJKToRASMatrix(vtkMatrixFromArray(rasFromLps(matrix)))


def volumeFromNode(node: Any) -> Volume:
    """The Volume that a node shows: voxels copied, slices where the parent transform puts them in the patient.

    A linear parent transform moves the whole stack. A non-linear one (Slicer's acquisition transform of tilted
    or uneven DICOM series) gives each slice its own origin, so that positions are those of the acquisition.
    Raises Refusal INPUT_GEOMETRY where the slices end up bent, turned or sheared, INPUT_VALUES without voxels.
    """
    return volumeWith(node, voxelsOf(node).copy())


def voxelsOf(node: Any) -> NDArray[Any]:
    """[K, J, I] or [K, J, I, 3]: the voxels of a node where they lie in memory, not a copy.

    Raises Refusal INPUT_VALUES where there are none, INPUT_DIMENSIONS where a voxel has 2 components or more than 3.
    """
    from vtk.util.numpy_support import vtk_to_numpy

    from ..engine.errors import Refusal

    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise Refusal("INPUT_VALUES", path=node.GetName(), reason="the volume holds no voxels")
    channels = image.GetNumberOfScalarComponents()
    if channels not in (1, 3):
        raise Refusal("INPUT_DIMENSIONS", path=node.GetName(), shape=(*image.GetDimensions()[::-1], channels))
    shape = image.GetDimensions()[::-1] + ((3,) if channels == 3 else ())
    voxels: NDArray[Any] = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    return voxels


def volumeWith(node: Any, voxels: NDArray[Any]) -> Volume:
    """The Volume that a node shows, with voxels that were copied from it. Raises Refusal INPUT_GEOMETRY."""
    from dataclasses import replace

    units = "RGB" if voxels.ndim == 4 else unitsOf(node)
    return replace(
        worldGeometry(node),
        voxels=voxels,
        units=units,
        modality=modalityOf(node) or ("CT" if units == "HU" else ""),
        source=_sourceOf(node, len(voxels)),
    )


def _describe(node: Any, volume: Volume) -> None:
    """Write modality, units and DICOM identity where Slicer's own DICOM reader writes them."""
    node.SetAttribute(nodes.MODALITY, volume.modality)
    if volume.units in _UNITS:
        code, meaning = _UNITS[volume.units]
        units = slicer.vtkCodedEntry()
        units.SetValueSchemeMeaning(code, "UCUM", meaning)
        node.SetVoxelValueUnits(units)
    if volume.source.sop_instance_uids:
        node.SetAttribute("DICOM.instanceUIDs", " ".join(volume.source.sop_instance_uids))
    if volume.source.instance_numbers:
        node.SetAttribute("DICOM.instanceNumbers", " ".join(str(n) for n in volume.source.instance_numbers))
    if volume.source.series_uid:
        addToHierarchy(node, volume.source.series_uid)


def unitsOf(node: Any) -> str:
    """Units of the voxel values as a Volume names them: 'HU', 'SUVbw' or 'arbitrary'."""
    entry = node.GetVoxelValueUnits()
    code = entry.GetCodeValue() if entry is not None else ""
    return next((units for units, (known, _meaning) in _UNITS.items() if known == code), "arbitrary")


def modalityOf(node: Any) -> str:
    """DICOM modality from the node or from its subject hierarchy item; '' where neither knows."""
    hierarchy, item = itemOf(node)
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return node.GetAttribute(nodes.MODALITY) or (item and hierarchy.GetItemAttribute(item, name)) or ""


def _seriesUid(node: Any) -> str:
    hierarchy, item = itemOf(node)
    if not item:
        return ""
    return hierarchy.GetItemUID(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()) or ""


def _sourceOf(node: Any, slices: int) -> Source:
    """UIDs count only where there is one for each slice: item k of the attribute belongs to slice k."""
    from ..engine.volume import Source

    uids = tuple((node.GetAttribute("DICOM.instanceUIDs") or "").split())
    numbers = tuple((node.GetAttribute("DICOM.instanceNumbers") or "").split())
    return Source(
        path=node.GetName() or "",
        format="MRML",
        series_uid=_seriesUid(node),
        sop_instance_uids=uids if len(uids) == slices and "Unknown" not in uids else (),
        instance_numbers=tuple(int(n) for n in numbers)
        if len(numbers) == slices and all(n.lstrip("-").isdigit() for n in numbers)
        else (),
    )
