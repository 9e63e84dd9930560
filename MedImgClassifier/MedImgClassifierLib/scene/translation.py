"""The one place that knows whether Slicer's translations are there (slicer-core alone has none)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:

    def _(text: str) -> str: ...

else:
    try:
        from slicer.i18n import tr as _
    except ImportError:

        def _(text):
            return text
