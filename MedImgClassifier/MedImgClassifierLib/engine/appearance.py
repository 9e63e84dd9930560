"""What pictures, plots and overlays share, so that a label has one colour and evidence one threshold everywhere."""

from __future__ import annotations

EVIDENCE_THRESHOLD = 0.25
"""Evidence below this part of the case's largest is not drawn until a reader asks for it."""

EVIDENCE_ANCHORS = (
    (0.547, 0.137, 0.414),
    (0.658, 0.179, 0.373),
    (0.770, 0.236, 0.307),
    (0.861, 0.312, 0.231),
    (0.933, 0.418, 0.140),
    (0.976, 0.544, 0.044),
    (0.988, 0.675, 0.065),
    (0.970, 0.821, 0.239),
    (0.948, 0.949, 0.491),
)
"""Red, green, blue of evidence 0..1 at even steps, linear between them: inferno without its darkest part, which would
look like shadow on the image."""

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
