"""Slicer's slice and 3D views, streamed into the page: the scene, its logics and what VTK draws."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer

from ..scene import nodes, session

SLICE_VIEWS = tuple(session.SLICE_VIEWS)
FPS = 30.0
HOLD_S = 0.3
"""For how long the 3D view waits while slices are scrolled."""


class Views:
    """A scene with the views Red, Green, Yellow and ThreeD, each a template of the server. scene: vtkMRMLScene."""

    def __init__(self, server: Any) -> None:
        from trame_slicer.core import SlicerApp
        from trame_slicer.views import SliceView, ThreeDView, ViewLayoutDefinition, ViewType

        self._application = SlicerApp()
        self.scene = self._application.scene
        self.scene.applicationLogic = self._application.app_logic  # as those of scene.session have it
        session.addCache(self.scene)
        for node in nodes.nodesOfClass(self.scene, "vtkMRMLSegmentEditorNode"):
            node.SetSaveWithScene(False)  # trame-slicer's own
        self._colors = slicer.vtkSlicerColorLogic()  # knows the nodes of color legends
        self._colors.SetMRMLApplicationLogic(self._application.app_logic)
        with _no_warnings():  # of color files, which slicer-core has none of
            self._colors.SetMRMLScene(self.scene)
        manager = self._application.view_manager
        slices = _factory(server, SliceView, ViewType.SLICE_VIEW)
        volumes = _factory(server, ThreeDView, ViewType.THREE_D_VIEW)
        kinds = ViewLayoutDefinition
        self._views = {}
        for factory, definitions in (
            (slices, (kinds.axial_view(), kinds.coronal_view(), kinds.sagittal_view())),
            (volumes, (kinds.threed_view(box_visible=False),)),
        ):
            manager.register_factory(factory)
            for definition in definitions:
                name = definition.singleton_tag
                with _no_warnings():  # of an event that VTK 9.6 has renamed and trame-slicer 2.0 observes
                    self._views[name] = manager.create_view(definition)
                self._views[name].render_window().SetMultiSamples(0)  # without a GPU they cost more than all else
                stream = factory.get_factory_view(name).view_adapter
                stream.update_quality(100, 100)  # PNG has but one: no second picture after each
                stream._scheduler._rca_encoder = FastPng()  # trame-rca lets one choose a format, not how hard it tries
        self._held = Held(self._views["ThreeD"]._scheduled_render)
        self._views["ThreeD"].set_scheduled_render(self._held)
        for name in SLICE_VIEWS:
            self._views[name].modified.connect(self._on_slice)
        self.show_layout("four")

    def _on_slice(self, view: Any) -> None:
        """trame-slicer draws anew what moves, and not what is laid over it in another way."""
        self._held.hold()
        view.schedule_render()

    def slice(self, name: str) -> Any:
        """The SliceView of trame-slicer."""
        return self._views[name]

    def show_layout(self, layout: str) -> None:
        """'four' or the name of one view; the others are not drawn meanwhile."""
        self._application.view_manager.set_current_view_ids(list(self._views) if layout == "four" else [layout])

    def show_volume(self, volume_node: Any) -> None:
        """Show a volume in all slice views, as a whole, with nothing over it, and its slices in 3D."""
        with _no_warnings():  # of the non-linear transform of a tilted series
            for name in SLICE_VIEWS:
                view = self._views[name]
                view.set_background_volume_id(volume_node.GetID())
                view.set_foreground_volume_id(None)
                view.reset_view()
                view.set_visible_in_3d(True)
            self.fit("ThreeD")

    def fit(self, name: str) -> None:
        """Show all of what a view shows."""
        view = self._views[name]
        view.fit_view_to_content()
        if name not in SLICE_VIEWS:
            camera = view.get_camera_node().GetCamera()  # it looks straight at the edges of the planes
            camera.Azimuth(35)
            camera.Elevation(25)
            camera.OrthogonalizeViewUp()
            view.reset_camera()
            view.zoom(0.45)  # the corners of the planes are empty
        view.schedule_render()

    def render(self, name: str, size: tuple[int, int]) -> Any:
        """[height, width, 3] uint8: what a view shows, fitted, in a window of this size (width, height)."""
        from vtkmodules.vtkCommonCore import vtkCommand

        view = self._views[name]
        view.update_size(*size)
        view.interactor().InvokeEvent(vtkCommand.WindowResizeEvent)
        self.fit(name)
        view.render_window().Render()
        return _pixels(view.render_window())


@contextmanager
def _no_warnings() -> Iterator[None]:
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()


def _factory(server: Any, view: Any, kind: Any) -> Any:
    """Makes views that are streamed as PNG: what a reader judges is not a JPEG's."""
    from trame_slicer.rca_view import RemoteViewFactory
    from trame_slicer.views.render_scheduler import NoScheduleRendering

    def make(**where: Any) -> Any:
        return view(**where, scheduled_render_strategy=NoScheduleRendering())  # while it is put together

    return RemoteViewFactory(server, make, kind, rca_encoder="png", target_fps=FPS, blur_fps=FPS)


class Held:
    """A rendering strategy of trame-slicer that lets another view go first. inner: the strategy that then renders."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._until = 0.0
        self._waiting: asyncio.TimerHandle | None = None

    def hold(self) -> None:
        """Render HOLD_S from now at the earliest."""
        self._until = time.monotonic() + HOLD_S

    def schedule_render(self) -> None:
        wait = self._until - time.monotonic()
        if wait <= 0:
            self._inner.schedule_render()
        elif self._waiting is None:
            self._waiting = asyncio.get_event_loop().call_later(wait, self._again)

    def _again(self) -> None:
        self._waiting = None
        self.schedule_render()

    def did_render(self) -> None:
        self._inner.did_render()

    def set_abstract_view(self, view: Any) -> None:
        self._inner.set_abstract_view(view)


class FastPng:
    """trame_rca.encoders.RcaImageEncoder's PNG, packed as little as is sensible for the way within one computer."""

    def encode(self, image: Any, columns: int, rows: int, quality: int) -> tuple[bytes, dict[str, Any], int]:
        """image: [rows, columns, 3] uint8. Returns (PNG, what the page is told of it, milliseconds since 1970)."""
        from PIL import Image

        now = time.time_ns() // 1_000_000
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, "png", compress_level=1)
        told = {"type": "image/png", "codec": "", "w": columns, "h": rows, "st": now, "key": "key", "quality": quality}
        return packed.getvalue(), told, now


def _pixels(window: Any) -> Any:
    import numpy as np
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height = image.GetDimensions()[:2]
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    return np.ascontiguousarray(pixels)
