"""The tables and the model card of `body-region`, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKER = "<!-- What follows is written by `make model`. -->"

LOOKS = """Development data only: the validation splits, `brain1` (25 slices of T1 with contrast agent) and `breast1`
(a crop of one breast, 21 slices) of pyradiomics, and the functional MR that nibabel carries (24 slices).

| attempt | epochs looked at | validation, balanced accuracy | brain1: BrainMR | nibabel's MR: BrainMR |
|---|---|---|---|---|
| stronger windows, no surface gain | 3, 6, 9 | 0.889, 0.954, 0.981 | 0, 1, 6 of 25 | |
| with surface gain | 3, 6 | 0.930, 0.965 | 0, 5 | |
| weaker windows | 2, 7, 11, 17, 24 | 0.890, 0.970, 0.981, 0.988, 0.986 | 8, 13, 13, 15, 10 | \
-, -, -, 16, 20 of 24 |
| this recipe: MR contrast varies | 6, 13, 20, 37, 40 | 0.979, 0.990, 0.989, 0.988, 0.988 | 5, 11, 12, 21, 19 | \
2, 11, 21, 24, - |
| the same, insides flattened | 4 | 0.965 | 3 | 2 |

No slice of `breast1` was called BreastMR by any of them. None read the final data before this recipe was committed.
"""

LICENCE_NOTE = """The files of this bundle are licensed under the Creative Commons Attribution-ShareAlike 4.0
International licence (CC BY-SA 4.0), https://creativecommons.org/licenses/by-sa/4.0/legalcode

They were trained on
- MedNIST images, credited to Dr. Bradley J. Erickson (Department of Radiology, Mayo Clinic), CC BY-SA 4.0
  as stated by the MONAI project;
- IXI T1-weighted images, https://brain-development.org/ixi-dataset/, CC BY-SA 3.0.
No image of either is part of the bundle. The code that reads the bundle is licensed separately (Apache-2.0).
"""


def model_card(identity: Mapping[str, Any], figures: str) -> str:
    """model_card.md of the bundle."""
    limits = "\n".join(f"- {limit}" for limit in identity["known_limits"])
    credits = "\n".join(f"- {c['what']}: {c['who']}. {c['licence']}." for c in identity["credits"])
    return f"""# {identity["title"]} ({identity["id"]} {identity["version"]})

Research use only, not for diagnosis. Licence of the weights: {identity["licence"]}.

**For:** {identity["intended_use"]}
**Not for:** {"; ".join(identity["out_of_scope"])}.

## Limits
{limits}

## Trained on
{credits}

## Looked at while it was made
{LOOKS}
## Measured
{figures}"""


def put_below_marker(page: Path, text: str) -> None:
    """Replace what stands below the marker of a page, which is made where it is missing."""
    above = page.read_text(encoding="utf-8").partition(MARKER)[0] if page.exists() else ""
    page.write_text(f"{above}{MARKER}\n\n{text}", encoding="utf-8")


def tables(figures: Mapping[str, Any], readings: int) -> str:
    """Every figure with its interval, as Markdown. readings: how often this making has read the final data."""
    final, development = figures["final"], figures["development"]
    parts = [f"Readings of the final data that the log of this making holds: {readings}.\n", "### Test splits\n"]
    for name, title in (
        ("mednist_test", "MedNIST test split, as it is"),
        ("mednist_test_background_removed", "MedNIST test split, background grey removed"),
        ("test", "MedNIST and IXI test splits, as they are"),
        ("test_background_removed", "MedNIST and IXI test splits, background grey removed"),
    ):
        parts.append(f"#### {title}\n\n{final[name].to_markdown()}")
    parts.append("#### IXI test subjects, in-brain slices called BrainMR\n\n" + _shares(final["planes"]))
    parts.append("### Final volumes\n")
    parts.append("#### ct_head_ge_tilt (28 slices of one patient)\n\n" + _volumes(final["ct_head_ge_tilt"]))
    parts.append("#### mr_sequence3d (middle 60 % of the native slices)\n\n" + _volumes(final["mr_sequence3d"]))
    parts.append(
        "### What the border gives away\n\nBalanced accuracy of a logistic regression on border pixels and "
        "high-frequency energy alone (chance: 0.14).\n\n| seen | balanced accuracy |\n|---|---|\n"
        + "".join(f"| {name} | {value:.3f} |\n" for name, value in final["border_probe"].items())
    )
    parts.append("### Development data, looked at while the recipe was made\n")
    for name, title in (("val", "as it is"), ("val_background_removed", "background grey removed")):
        parts.append(f"#### MedNIST and IXI validation splits, {title}\n\n{development[name].to_markdown()}")
    parts.append("#### IXI validation subjects\n\n" + _shares(development["planes"]))
    parts.append("#### Volumes\n\n" + _volumes(development["volumes"]))
    return "\n".join(parts)


def _shares(planes: Mapping[str, Any]) -> str:
    rows = "".join(f"| {name} | {_share(share)} |\n" for name, share in planes.items())
    return "| plane | slices | share | 95 % interval |\n|---|---|---|---|\n" + rows


def _volumes(scored: Mapping[str, Any]) -> str:
    rows = ""
    for name, counts in scored.items():
        total: dict[str, int] = {}
        for per_class in counts["per_volume"].values():
            for label, count in per_class.items():
                total[label] = total.get(label, 0) + count
        called = ", ".join(f"{label} {count}" for label, count in sorted(total.items(), key=lambda x: -x[1]))
        volumes = f"{counts['volumes']['right']} of {counts['volumes']['of']}"
        rows += f"| {name} | {_share(counts['slices'])} | {volumes} | {called} |\n"
    head = "| shown | slices | share | 95 % interval | volumes by majority | called |\n|---|---|---|---|---|---|\n"
    return head + rows


def _share(share: Mapping[str, Any]) -> str:
    interval = share["interval"]
    span = interval if isinstance(interval, str) else f"{interval[0]:.3f} to {interval[1]:.3f}"
    return f"{share['right']} of {share['of']} | {share['share']:.3f} | {span}"
