"""The face of MedImgClassifier in Slicer: choose a volume and a model, classify, look at the evidence.

Thin by design. The engine answers in a process of its own (through worker/client.py), the scene room makes nodes of
the answer, and this file connects both to the panel. Opening the panel imports nothing that Slicer does not ship.
"""

import importlib
import shutil
import sys
import time
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

from MedImgClassifierLib.workflow.logic import ClassificationLogic


class MedImgClassifier(ScriptedLoadableModule):
    def __init__(self, parent):
        from MedImgClassifierLib import translation

        ScriptedLoadableModule.__init__(self, parent)
        translation.loadTranslations(self.resourcePath(""))
        self.parent.title = _("Medical Image Classifier")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Informatics")]
        self.parent.dependencies = []
        self.parent.contributors = ["MedImgClassifier contributors"]
        self.parent.helpText = _(
            "Classifies the slices of a CT or MR volume and shows the class, how sure the model is, and where in the "
            "image the answer comes from. Research use only, not for diagnosis."
        )
        self.parent.acknowledgementText = _("Each model names its training data and their licenses in its model card.")
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", watchLoadedScenes)


def watchLoadedScenes():
    """Texts in the slice views are not saved with a scene: make the panel, which writes them, when results come in."""
    slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndImportEvent, onSceneImported)


def onSceneImported(caller, event):
    from MedImgClassifierLib.scene import nodes, result_nodes

    tables = nodes.nodesOfClass(caller, "vtkMRMLTableNode")
    if any(table.GetAttribute(nodes.ROLE) == result_nodes.TABLE_KIND for table in tables) and slicer.util.mainWindow():
        slicer.modules.medimgclassifier.widgetRepresentation()


def registerSampleData():
    """Offer a volume that the shipped model was made for in the Sample Data module."""
    import SampleData

    digest = "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MedImgClassifier",
        sampleName="MedImgClassifierMRHead",
        uris=f"https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/{digest}",
        fileNames="MR-head.nrrd",
        checksums=f"SHA256:{digest}",
        nodeNames="MRHead",
    )


@parameterNodeWrapper
class MedImgClassifierParameterNode:
    """What the panel is set to; saved with the scene.

    bundle: name of the chosen model; segment: id of the segment to restrict to; evidenceLabel: class whose evidence is
    shown; overlayThreshold: fraction of the strongest evidence in the volume below which nothing is drawn. Volumes of
    further channels and what restricts them, which may be of several kinds, are references of the node
    (panel/inputs.py).
    """

    inputVolume: vtkMRMLScalarVolumeNode
    bundle: str
    segment: str
    runtime: str = "auto"
    device: str = "auto"
    resultTable: vtkMRMLTableNode
    evidenceLabel: str
    overlayVisible: bool = True
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    overlayThreshold: Annotated[float, WithinRange(0, 1)] = 0.25
    colorMap: str = "inferno"
    legendVisible: bool = False


class MedImgClassifierWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Lifecycle only: what is shown and done is in MedImgClassifierLib/panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        from MedImgClassifierLib import translation
        from MedImgClassifierLib.panel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedImgClassifier.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MedImgClassifierLogic()
        self.panel = Panel(self.ui, self.logic, uiWidget, translation.language())
        for event, react in (
            (slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose),
            (slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose),
            (slicer.mrmlScene.EndImportEvent, self.onSceneEndImport),
            (slicer.mrmlScene.NodeAddedEvent, self.onNodesChanged),
            (slicer.mrmlScene.NodeRemovedEvent, self.onNodesChanged),
        ):
            self.addObserver(slicer.mrmlScene, event, react)
        self.initializeParameterNode()

    def cleanup(self):
        self.removeObservers()
        if self.panel:
            self.panel.close()
            self.logic.close()

    def enter(self):
        self.panel.shortcuts.enable(True)
        self.initializeParameterNode()

    def exit(self):
        """The settings stay connected: a result in the views is watched whatever module is shown."""
        self.panel.shortcuts.enable(False)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        self.logic.forgetResults()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event):
        self.initializeParameterNode()

    def onNodesChanged(self, caller, event):
        if self.panel.settings and not slicer.mrmlScene.IsClosing():
            self.panel.refreshSoon()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """The node itself is observed, not its wrapper: the mixin keeps what it ever observed, and a wrapper that
        outlives the scene fails to read the emptied node."""
        modified = vtk.vtkCommand.ModifiedEvent
        if self.panel.settings:
            self.removeObserver(self.panel.settings.parameterNode, modified, self.onSettingsModified)
        self.panel.setSettings(parameterNode)
        if parameterNode:
            self.addObserver(parameterNode.parameterNode, modified, self.onSettingsModified)

    def onSettingsModified(self, caller, event):
        self.panel.onSettingsModified()

    def onReload(self):
        """Let go of the library too, so that the reloaded module imports all of it anew."""
        for name in [name for name in sys.modules if name.split(".")[0] == "MedImgClassifierLib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)


class MedImgClassifierLogic(ScriptedLoadableModuleLogic, ClassificationLogic):
    """Classification as a script uses it, without the panel:

    logic = slicer.util.getModuleLogic("MedImgClassifier")
    result = logic.process(volumeNode, logic.bundles()["body-region"])
    result.table, result.evidence  # nodes in the scene
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        # PythonSlicer brings the environment of Slicer's Python; it is on the PATH inside Slicer
        ClassificationLogic.__init__(self, (shutil.which("PythonSlicer") or sys.executable,))

    def getParameterNode(self):
        return MedImgClassifierParameterNode(super().getParameterNode())


class MedImgClassifierTest(ScriptedLoadableModuleTest):
    """The whole path in the running application: a synthetic volume, the shipped model, panel and nodes.

    What needs the inference process is skipped where its libraries are not installed.
    """

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_syntheticVolumeIsClassified(self):
        logic = MedImgClassifierLogic()
        bundle = self.bundle(logic)
        try:  # "Reload and Test" runs no cleanups
            result = logic.process(self.ball(), bundle)
        finally:
            logic.close()
        self.assertEqual(result.table.GetNumberOfRows(), 4)
        self.assertTrue(logic.classification(result.table).in_words())
        logic.removeResult(result.table)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode"), 0)

    def test_panelClassifiesAndSaysWhenItIsOutOfDate(self):
        volumeNode = self.ball()
        panel = self.enteredPanel()
        self.bundle(panel.logic)
        self.assertTrue(panel.ui.classifyButton.enabled, panel.ui.classifyButton.toolTip)
        panel.ui.classifyButton.click()
        self.wait(lambda: panel.runner.work is None)
        self.assertEqual(panel.ui.messageLabel.text, "")
        self.assertEqual(panel.table().GetNumberOfRows(), 4)
        self.wait(lambda: not panel.follower.freshness.checking)
        self.assertFalse(panel.shown().out_of_date)
        slicer.util.arrayFromVolume(volumeNode)[0] = 0
        slicer.util.arrayFromVolumeModified(volumeNode)
        slicer.app.processEvents()
        self.assertEqual(panel.shown().out_of_date, ("voxels",))
        panel.ui.removeResultButton.click()
        self.assertIsNone(panel.table())
        panel.logic.close()

    def test_panelSurvivesTheEndOfTheScene(self):
        self.ball()
        panel = self.enteredPanel()
        self.assertIsNotNone(panel.settings.inputVolume)
        slicer.mrmlScene.Clear()
        self.assertFalse(panel.ui.classifyButton.enabled)
        self.assertIsNone(panel.table())

    def enteredPanel(self):
        """The module's panel, with the settings of this scene, whether or not there is a window that shows it."""
        widget = slicer.modules.medimgclassifier.widgetRepresentation().self()
        widget.initializeParameterNode()
        return widget.panel

    def bundle(self, logic):
        """Folder of a shipped model; the test is skipped where the libraries that it needs are not installed."""
        import importlib.util

        bundles = logic.bundles()
        missing = [name for name in ("onnxruntime", "safetensors", "jsonschema") if not importlib.util.find_spec(name)]
        if missing or not bundles:
            self.skipTest(f"needs a shipped model and what the module installs at the first Classify: {missing}")
        return next(iter(bundles.values()))

    def ball(self):
        """A volume node of 4 slices of 64 x 64 with something round in them."""
        import numpy as np

        k, j, i = np.mgrid[0:4, 0:64, 0:64]
        voxels = np.where((j - 32) ** 2 + (i - 32) ** 2 < 600, 300 + 10 * k, 0).astype(np.int16)
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ball")
        slicer.util.updateVolumeFromArray(volumeNode, voxels)
        return volumeNode

    def wait(self, condition):
        """Let the application handle events until something is true, for a minute at most."""
        until = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), until)
            slicer.app.processEvents()
