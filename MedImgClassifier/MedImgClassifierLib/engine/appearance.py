"""What pictures, plots and overlays share, so that a label has one colour and evidence one threshold everywhere."""

from __future__ import annotations

EVIDENCE_THRESHOLD = 0.25
"""Evidence below this part of the case's largest is not drawn until a reader asks for it."""

LABEL_COLORS = (
    (0.902, 0.624, 0.000),
    (0.337, 0.706, 0.914),
    (0.000, 0.620, 0.451),
    (0.941, 0.894, 0.259),
    (0.000, 0.447, 0.698),
    (0.835, 0.369, 0.000),
    (0.800, 0.475, 0.655),
)
"""Red, green, blue of the labels in their order: Okabe and Ito's palette for any colour vision, without its black,
which vanishes on a dark page."""
