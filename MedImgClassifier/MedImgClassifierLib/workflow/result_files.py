"""A result as files: table, record, report, scene. Written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import presenter

if TYPE_CHECKING:
    from ..engine.result import Classification

Kind = Literal["csv", "json", "html", "mrb"]


def fileName(table: Any, kind: Kind) -> str:
    """A name for a file of a result, of characters that every file system takes."""
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", table.GetName()) + f".{kind}"


def writeFile(workflow: Any, kind: Kind, path: Path) -> None:
    """Write the result that a Workflow shows beside the place, and move it there.

    A result that is out of date says so itself. Raises Refusal USAGE_FILE_NOT_WRITTEN.
    """
    from ..engine.errors import Refusal

    write = {"csv": _writeCsv, "json": _writeJson, "html": _writeHtml, "mrb": _writeScene}[kind]
    try:
        with tempfile.TemporaryDirectory(prefix=".medimg-", dir=path.parent) as folder:
            write(workflow, Path(folder) / path.name)
            os.replace(Path(folder) / path.name, path)
    except OSError as failed:
        raise Refusal("USAGE_FILE_NOT_WRITTEN", path=path, reason=failed.strerror or str(failed)) from None


def _result(workflow: Any) -> Classification:
    """The classification, which says itself that it is out of date where it is."""
    shown = workflow.shown()
    classification: Classification = shown.classification
    if not shown.out_of_date:
        return classification
    provenance = {**classification.provenance, "out_of_date": list(shown.out_of_date)}
    return replace(classification, provenance=provenance)


def _writeCsv(workflow: Any, path: Path) -> None:
    from ..engine.report import write_csv

    write_csv(_result(workflow), path)


def _writeJson(workflow: Any, path: Path) -> None:
    from ..engine.report import write_json

    write_json(_result(workflow), path)


def _writeHtml(workflow: Any, path: Path) -> None:
    """With the pictures of the volume, unless it is gone or no longer the one that was classified."""
    from ..engine.html_report import write_html
    from ..scene import result_nodes
    from ..scene.volumes import volumeFromNode

    shown, found = workflow.shown(), workflow.currentVerdict()
    facts = found and {
        "verdict": found.verdict,
        "corrected": found.correctedClass,
        "comment": found.comment,
        "time": found.time,
    }
    node = result_nodes.resultOf(workflow.table()).volume
    volume = volumeFromNode(node) if node is not None and not shown.out_of_date else None
    write_html(
        shown.classification,
        volume,
        path,
        language=workflow.language,
        verdict=facts,
        out_of_date=[presenter.reason_in_words(reason) for reason in shown.out_of_date],
        card=workflow.inputs.card(),
        current=shown.row,
    )


def _writeScene(workflow: Any, path: Path) -> None:
    from ..scene.saving import writeScene

    writeScene(workflow.scene, path)
