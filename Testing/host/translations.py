"""`slicer.i18n`: user texts in the application's language, by the rules of Slicer's own module.

The context of a text is the name of the source file, with its package in front where the folder is one:
"MedImgClassifier", "panel.plot". A translation whose placeholders differ from the original's is not used.
"""

from __future__ import annotations

import inspect
import logging
import re
from functools import cache
from pathlib import Path

PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


def translate(context: str, text: str) -> str:
    """A text in a context that is named."""
    from slicer import app

    return str(app.translate(context, text)) if hasattr(app, "translate") else text  # a test may stand in for it


@cache
def getContext(sourceFile: str) -> str:
    path = Path(sourceFile)
    stem = path.name.replace(".py", "") if path.is_file() else path.name
    return f"{path.parent.name}.{stem}" if (path.parent / "__init__.py").is_file() and path.is_file() else stem


def tr(text: str) -> str:
    """A text in the context of the file that calls."""
    frame = inspect.currentframe()
    frame = frame.f_back if frame else None  # a frame that names itself would keep all that its callers hold
    assert frame
    context = getContext(inspect.getsourcefile(frame) or frame.f_code.co_filename)
    translated = translate(context, text)
    if set(PLACEHOLDER.findall(text)) != set(PLACEHOLDER.findall(translated)):
        logging.warning(f"{context}: the placeholders of '{translated}' are not those of '{text}'")
        return text
    return translated
