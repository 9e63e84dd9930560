"""The face of MedImgClassifier in Slicer: choose a volume and a model, classify, look at the evidence.

Thin by design. The engine answers in a process of its own (through worker/client.py), the scene room makes nodes of
the answer, and this file connects both to the panel. Opening the panel imports nothing that Slicer does not ship.
"""

import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class MedImgClassifier(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
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

    bundle: name of the chosen model; evidenceLabel: class whose evidence is shown; threshold: fraction of the
    strongest evidence in the volume below which nothing is drawn.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    bundle: str
    resultTable: vtkMRMLTableNode
    evidenceLabel: str
    overlayVisible: bool = True
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
    overlayThreshold: Annotated[float, WithinRange(0, 1)] = 0.25


class MedImgClassifierWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._bundles = {}  # folders by name
        self._intendedUses = {}
        self._running = False
        self._cancelRequested = False
        self._shownOverlay = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedImgClassifier.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MedImgClassifierLogic()
        self._bundles = self.logic.bundles()
        intendedUse = _("Intended use: {use}")
        for name, path in self._bundles.items():
            self._intendedUses[name] = intendedUse.format(use=self.logic.intendedUse(path))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.ui.bundleSelector.connect("currentIndexChanged(int)", self.onBundleChosen)
        self.ui.classifyButton.connect("clicked(bool)", self.onClassifyButton)
        self.ui.removeResultButton.connect("clicked(bool)", self.onRemoveResultButton)
        self.ui.evidenceClassSelector.connect("currentIndexChanged(int)", self.onEvidenceClassChosen)
        self.initializeParameterNode()

    def cleanup(self):
        self._cancelRequested = True
        self.removeObservers()
        if self.logic and self.logic.client:
            self.logic.client.close()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self._cancelRequested = True
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        self.logic.forgetResults()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onNodeRemoved(self, caller, event):
        if self._parameterNode and not slicer.mrmlScene.IsClosing():
            self.updateFromParameterNode()

    def initializeParameterNode(self):
        """Connect the panel to the scene's parameter node; take the first image where none was chosen."""
        from MedImgClassifierLib.scene import evidence_choice

        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            self._parameterNode.inputVolume = evidence_choice.firstImage(slicer.mrmlScene)
        if self._bundles and self._parameterNode.bundle not in self._bundles:
            self._parameterNode.bundle = next(iter(self._bundles))

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateFromParameterNode)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateFromParameterNode)
            self._shownOverlay = self.overlayState()  # entering the panel changes nobody's views
        self.updateFromParameterNode()

    def updateFromParameterNode(self, caller=None, event=None):
        """Show what the parameter node says: buttons, model, result and overlay."""
        if self._running:
            return
        self.updateInputs()
        table = self._parameterNode.resultTable if self._parameterNode else None
        classification = self.logic.classification(table) if table else None
        self.updateResult(table, classification)
        self.updateEvidence(table, classification)

    def updateInputs(self):
        parameterNode = self._parameterNode
        name = parameterNode.bundle if parameterNode else ""
        self.offer(self.ui.bundleSelector, list(self._bundles), name)
        self.ui.intendedUseLabel.text = self._intendedUses.get(name, "")
        reason = self.whyNotReady()
        self.ui.classifyButton.enabled = not reason
        self.ui.classifyButton.toolTip = reason or _("Classify the slices of the input volume.")

    def whyNotReady(self):
        """What keeps Classify from working, in words; '' when nothing does."""
        from MedImgClassifierLib.scene import overlay

        if not self._bundles:
            return _("No model is installed: reinstall the extension.")
        if not self._parameterNode or self._parameterNode.bundle not in self._bundles:
            return _("Choose a model.")
        volumeNode = self._parameterNode.inputVolume
        if not volumeNode:
            return _("Choose an input volume.")
        if not volumeNode.GetImageData():
            return _("The input volume holds no voxels: load it again or choose another.")
        if overlay.isEvidence(volumeNode):
            return _("This volume is the evidence of a result: choose an image.")
        return ""

    def updateResult(self, table, classification):
        if classification:
            self.ui.answerLabel.text = classification.in_words()
        else:
            self.ui.answerLabel.text = _("The record of this result is missing.") if table else _("No result yet.")
        findings = classification.findings if classification else ()
        warning = _("Warning: {message}")
        lines = [warning.format(message=f.message) if f.severity == "warn" else f.message for f in findings]
        self.ui.findingsLabel.text = "\n".join(lines)
        self.ui.findingsLabel.visible = bool(lines)
        if self.ui.resultTableView.mrmlTableNode() is not table:
            self.ui.resultTableView.setMRMLTableNode(table)
            self.ui.resultTableView.resizeColumnsToContents()
        self.ui.resultTableView.visible = bool(table)
        self.ui.removeResultButton.enabled = bool(table)

    def updateEvidence(self, table, classification):
        from MedImgClassifierLib.scene import evidence_choice

        parameterNode, shown = self._parameterNode, self.overlayState()
        labels = evidence_choice.offeredLabels(table, classification) if classification else []
        label = parameterNode.evidenceLabel if labels else ""
        self.offer(self.ui.evidenceClassSelector, labels, label)
        self.ui.evidenceCollapsibleButton.enabled = bool(labels)
        silent = label in labels and not evidence_choice.speaksFor(classification, label)
        self.ui.evidenceNoteLabel.visible = silent
        self.ui.evidenceNoteLabel.text = _("Nothing in this volume speaks for {label}.").format(label=label)
        if label not in labels or shown == self._shownOverlay:
            return
        self._shownOverlay = shown
        if parameterNode.overlayVisible:
            opacity, threshold = parameterNode.overlayOpacity, parameterNode.overlayThreshold
            evidence_choice.showEvidence(table, classification, label, opacity, threshold)
        else:
            evidence_choice.hideEvidence(table)

    def offer(self, selector, texts, current):
        """Make a combo box offer texts, with one of them current, as if it had always been so: no signal."""
        wasBlocked = selector.blockSignals(True)
        if [selector.itemText(i) for i in range(selector.count)] != texts:
            selector.clear()
            selector.addItems(texts)
        selector.currentIndex = selector.findText(current)
        selector.blockSignals(wasBlocked)

    def overlayState(self):
        p = self._parameterNode
        if not p or not p.resultTable:
            return None
        return (p.resultTable.GetID(), p.overlayVisible, p.evidenceLabel, p.overlayOpacity, p.overlayThreshold)

    def onBundleChosen(self, index):
        if self._parameterNode and index >= 0:
            self._parameterNode.bundle = self.ui.bundleSelector.itemText(index)

    def onEvidenceClassChosen(self, index):
        if self._parameterNode and index >= 0:
            self._parameterNode.evidenceLabel = self.ui.evidenceClassSelector.itemText(index)

    def onClassifyButton(self):
        """Classify; while that runs the button cancels it."""
        if self._running:
            self._cancelRequested = True
            return
        from MedImgClassifierLib.engine.errors import Refusal
        from MedImgClassifierLib.scene import evidence_choice

        parameterNode = self._parameterNode
        self.setRunning(True)
        try:
            with slicer.util.tryWithErrorDisplay(_("Classification failed.")):
                try:
                    bundle = self._bundles[parameterNode.bundle]
                    result = self.logic.process(parameterNode.inputVolume, bundle, self.onProgress)
                    evidence_choice.bringIntoView(result.volume)
                    parameterNode.resultTable = result.table
                    parameterNode.evidenceLabel = evidence_choice.shownLabel(result.table)
                except Refusal as refusal:
                    if refusal.code == "CANCELLED":
                        slicer.util.showStatusMessage(_("Classification canceled."), 3000)
                    else:
                        slicer.util.errorDisplay(refusal.message())
        finally:
            self.setRunning(False)

    def onProgress(self, stage, fraction):
        """Called by the engine between batches. The scene may change while events are processed."""
        from MedImgClassifierLib.engine.errors import Refusal

        self.ui.progressBar.value = round(100 * fraction)
        self.ui.progressBar.format = f"{stage} %p%"
        slicer.app.processEvents()
        if self._cancelRequested:
            raise Refusal("CANCELLED")

    def setRunning(self, running):
        self._running = running
        self._cancelRequested = False
        for section in ("inputs", "result", "evidence"):
            getattr(self.ui, section + "CollapsibleButton").enabled = not running
        self.ui.classifyButton.text = _("Cancel") if running else _("Classify")
        self.ui.classifyButton.toolTip = _("Stop; nothing is added to the scene.") if running else ""
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = running
        self.updateFromParameterNode()
        slicer.app.processEvents()

    def onRemoveResultButton(self):
        self.logic.removeResult(self._parameterNode.resultTable)


class MedImgClassifierLogic(ScriptedLoadableModuleLogic):
    """Classification as a script uses it, without the panel:

    logic = slicer.util.getModuleLogic("MedImgClassifier")
    result = logic.process(volumeNode, logic.bundles()["body-region"])
    result.table, result.evidence  # nodes in the scene
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.client = None
        self.forgetResults()

    def getParameterNode(self):
        return MedImgClassifierParameterNode(super().getParameterNode())

    def bundles(self):
        """Installed models: folders by name; empty where none is installed."""
        from MedImgClassifierLib import resources
        from MedImgClassifierLib.engine.errors import Refusal

        try:
            return resources.bundles()
        except Refusal:
            logging.warning("MedImgClassifier: no model is installed")
            return {}

    def intendedUse(self, bundlePath):
        """What a model says it was made for. Read without any check: those come when the model is loaded."""
        try:
            return json.loads(Path(bundlePath, "manifest.json").read_text(encoding="utf-8"))["intended_use"]
        except (OSError, ValueError, KeyError, TypeError):
            return _("not stated")

    def process(self, volumeNode, bundlePath, progress=None):
        """Classify the slices of a volume node and add the result to its scene.

        progress(stage, fraction) is called on the way; it may raise Refusal("CANCELLED").
        Returns the nodes of the result (scene.result_nodes.ResultNodes). An earlier result of the same volume and
        model is replaced. Raises Refusal, which leaves the scene as it was.
        """
        from MedImgClassifierLib.engine.errors import Refusal
        from MedImgClassifierLib.scene import result_nodes, volumes
        from MedImgClassifierLib.worker.client import Client

        scene, start = volumeNode.GetScene(), time.perf_counter()
        # PythonSlicer brings the environment of Slicer's Python; it is on the PATH inside Slicer
        self.client = self.client or Client((shutil.which("PythonSlicer") or sys.executable,))
        classification = self.client.classify(volumes.volumeFromNode(volumeNode), bundlePath, progress=progress)
        if not scene.IsNodePresent(volumeNode):  # progress lets the application handle events
            raise Refusal("CANCELLED")
        result = result_nodes.addResult(scene, volumeNode, classification)
        self._read = ((result.provenance, result.provenance.GetMTime()), classification)
        seconds = time.perf_counter() - start
        answer = classification.in_words()
        logging.info(f"Classified '{volumeNode.GetName()}' by {Path(bundlePath).name} in {seconds:.1f} s: {answer}")
        return result

    def classification(self, table):
        """The Classification behind a results table; None where its record was deleted or altered."""
        from MedImgClassifierLib.scene import evidence_choice, result_nodes

        record = result_nodes.resultOf(table).provenance
        state = (record, record.GetMTime()) if record else None
        if self._read[0] != state:
            self._read = (state, evidence_choice.recordedClassification(table))
        return self._read[1]

    def forgetResults(self):
        self._read = (None, None)

    def removeResult(self, table):
        """Remove a result's table, plot, record and evidence from the scene."""
        from MedImgClassifierLib.scene import result_nodes

        result_nodes.removeResult(table.GetScene(), table)


class MedImgClassifierTest(ScriptedLoadableModuleTest):
    """The whole path in the running application: a synthetic volume, the shipped model, nodes in the scene."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_syntheticVolumeIsClassified(self):
        import importlib.util

        import numpy as np

        logic = MedImgClassifierLogic()
        bundles = logic.bundles()
        if not bundles or not any(importlib.util.find_spec(name) for name in ("onnxruntime", "openvino", "torch")):
            self.skipTest("needs a shipped model and a runtime: onnxruntime, openvino or PyTorch")
        k, j, i = np.mgrid[0:4, 0:64, 0:64]
        voxels = np.where((j - 32) ** 2 + (i - 32) ** 2 < 600, 300 + 10 * k, 0).astype(np.int16)
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ball")
        slicer.util.updateVolumeFromArray(volumeNode, voxels)
        result = logic.process(volumeNode, next(iter(bundles.values())))
        self.addCleanup(logic.client.close)
        self.assertEqual(result.table.GetNumberOfRows(), 4)
        self.assertTrue(logic.classification(result.table).in_words())
        logic.removeResult(result.table)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode"), 0)
