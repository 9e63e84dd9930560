"""The words of the page that do not depend on what is shown, in the language of `translation`."""

from __future__ import annotations

from ..translation import _


def words() -> dict[str, str]:
    """By the names under which the page's template asks for them."""
    return {
        "notice": _("Research use only, not for diagnosis."),
        "panel": _("Show or hide the panel"),
        "layout": _("Layout"),
        "dark": _("Light or dark"),
        "language": _("Language"),
        "input": _("Input"),
        "drop": _("Drop a DICOM folder, a zip of it, NIfTI, NRRD or MetaImage here."),
        "open_file": _("Open file..."),
        "open_folder": _("Open folder..."),
        "open_root": _("On the server..."),
        "open_this_folder": _("Open this folder"),
        "uploading": _("Sending"),
        "upload_failed": _("Sending failed: the viewer does not answer or the files cannot be read. Try again."),
        "cancel": _("Cancel"),
        "no_volume": _("No volume is loaded."),
        "model": _("Model"),
        "about": _("About this model"),
        "result": _("Result"),
        "key_keys": "Ctrl+Alt+PgUp / PgDown",
        "previous_key": _("Previous key slice"),
        "next_key": _("Next key slice"),
        "key_slices": _("Key slices"),
        "evidence": _("Evidence"),
        "overlay_visible": _("Show over the image"),
        "evidence_for": _("Evidence for"),
        "opacity": _("Opacity"),
        "threshold": _("Threshold"),
        "threshold_tip": _("Part of the strongest evidence in the volume below which nothing is drawn"),
        "colors": _("Colors"),
        "legend": _("Color legend"),
        "review": _("Review"),
        "corrected": _("Correct class"),
        "comment": _("Comment"),
        "save_review": _("Save review"),
        "files": _("Save"),
        "remove_result": _("Remove this result"),
        "fit": _("Fit"),
        "plot": _("Probability along the slices"),
        "choose_series": _("Several series: choose one"),
    }


def choices() -> dict[str, list[dict[str, str]]]:
    """What the page offers to choose from, by the names of its template."""
    return {
        "layouts": [
            {"value": "four", "title": _("Four views"), "icon": "mdi-view-grid-outline"},
            *({"value": view["name"], "title": view["title"], "color": view["color"]} for view in views()),
        ],
        "views": views(),
        "verdicts": [
            {"value": "agree", "title": _("Agree")},
            {"value": "disagree", "title": _("Disagree")},
            {"value": "unsure", "title": _("Unsure")},
        ],
        "downloads": [
            {"kind": "csv", "title": _("Table (CSV)")},
            {"kind": "json", "title": _("Record (JSON)")},
            {"kind": "html", "title": _("Report (HTML)")},
            {"kind": "mrb", "title": _("Scene (MRB)")},
        ],
    }


def views() -> list[dict[str, str]]:
    """Names, titles and colors of the views, as they stand on the page."""
    return [
        {"name": "Red", "title": _("Axial"), "color": "#f34a33"},
        {"name": "ThreeD", "title": _("3D"), "color": "#b9b9e1"},
        {"name": "Green", "title": _("Coronal"), "color": "#6eb04b"},
        {"name": "Yellow", "title": _("Sagittal"), "color": "#edd54c"},
    ]
