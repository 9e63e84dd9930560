"""Classify a volume with a shipped model in the stand-in host and save a picture of the panel.

    PYTHONPATH=MedImgClassifier:Testing python -m host.screenshot VOLUME PICTURE.png

The picture shows the panel as this host draws it; say so wherever it is shown.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import application, pythonqt

MODULE_FILE = Path(__file__).resolve().parents[2] / "MedImgClassifier" / "MedImgClassifier.py"


def main(source: Path, picture: Path) -> int:
    slicer = application.boot()
    from MedImgClassifierLib.engine.reading import read_volume
    from MedImgClassifierLib.scene.volumes import addVolume

    name = source.name.split(".")[0]
    volume_node = addVolume(slicer.mrmlScene, read_volume(source), name)
    application.add_slice_view()
    panel, window = application.open_panel(application.load_module(MODULE_FILE))
    panel.ui.inputSelector.setCurrentNode(volume_node)
    panel.ui.classifyButton.click()
    slicer.app.processEvents()
    saved = window.grab().save(str(picture))
    return 0 if saved and panel.ui.resultTableView.mrmlTableNode() and not pythonqt.errors else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
