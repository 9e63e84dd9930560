"""The rules that make a plan of a fingerprint: one function a choice, each building on those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, NamedTuple

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import REGISTRY

from .datasets.manifest import Manifest
from .fingerprint import Fingerprint, Grid, quantile
from .plan import Choice, Plan, check, require_coherent
from .schemes import COLUMN_ROLES
from .training_memory import training_bytes

SIZES = (32, 64, 96, 128, 160, 192, 224)
SMALL_STEM = 48  # pixels up to which an ImageNet stem would leave a map of one cell or two
STEPS = 2000
MANY_GROUPS = 500
MEMORY_GIB = 4.0

Found = tuple[Any, str]
"""A value and its reason."""


def make_plan(
    fingerprint: Fingerprint,
    manifest: Manifest,
    wishes: Mapping[str, Any] | None = None,
    memory_gib: float = MEMORY_GIB,
) -> Plan:
    """The plan of a manifest whose fingerprint this is. wishes: choices that are made already; the rules after them
    build on them. memory_gib: what a training step may take.

    Raises Refusal DATA_PLAN (the data are of several kinds, a class has too few groups, nothing fits the memory) and
    USAGE_PLAN_CHOICE.
    """
    wishes = dict(wishes or {})
    for name, value in wishes.items():
        check(name, value)
    known = _Known(fingerprint, manifest, memory_gib, wishes, {})
    choices: dict[str, Choice] = {}
    for name, rule in RULES.items():
        if name in wishes:
            choices[name] = Choice(wishes[name], "asked for", "asked")
        elif (found := rule(known)) is not None:
            choices[name] = Choice(*found)
        if name in choices:
            known.chosen[name] = choices[name].value
    plan = Plan(choices, manifest.task, manifest.classes, manifest.sha256, fingerprint.sha256)
    require_coherent(plan)
    return plan


class _Known(NamedTuple):
    """wishes: what is decided already, of all choices; chosen: values so far."""

    fingerprint: Fingerprint
    manifest: Manifest
    memory_gib: float
    wishes: Mapping[str, Any]
    chosen: dict[str, Any]

    def refuse(self, reason: str) -> Refusal:
        return Refusal("DATA_PLAN", path=self.manifest.path, reason=reason)

    @property
    def grids(self) -> Counter[Grid]:
        """Of the plane that is looked at; rows that name their own plane count with it."""
        grids = self.fingerprint.grids
        if any(row.plane for row in self.manifest.rows):
            named = {row.plane or self.chosen["plane"] for row in self.manifest.rows}
            return sum((grids[plane] for plane in sorted(named)), Counter())
        return grids[self.chosen["plane"]] or grids["native"]

    @property
    def images(self) -> int:
        return sum(self.fingerprint.images.values())


def _plane(known: _Known) -> Found:
    planes = known.fingerprint.native_planes
    named = {row.plane for row in known.manifest.rows if row.label}
    if len(named) == 1 and named != {""}:
        return next(iter(named)), "the manifest's rows name it"
    if named - {""}:
        return "native", "the manifest's rows name several"
    if len(planes) == 1:
        (plane,) = planes
        words = "they are pictures" if plane == "picture" else f"all volumes are stored in {plane} slices"
        return "native", words
    stored = ", ".join(f"{count} {plane}" for plane, count in planes.most_common())
    plane = max((name for name in planes if name != "picture"), key=lambda name: planes[name])
    if "picture" in planes:
        raise known.refuse(f"pictures and volumes are mixed ({stored}): make a manifest of each")
    return plane, f"stored are {stored}: all are looked at in the commonest plane"


def _field_of_view(known: _Known) -> Found:
    extents: Counter[int] = Counter()
    for grid, count in known.grids.items():
        extents[ceil(max(grid.rows * grid.row_mm, grid.columns * grid.column_mm))] += count
    if 0 in extents:
        return 0, "the files state no pixel size: the whole image is shown, padded to a square"
    view = 10 * ceil(quantile(extents, 0.95) / 10)
    reason = f"95 % of the images measure at most {quantile(extents, 0.95)} mm; a fixed field of view, so that the size"
    return view, f"{reason} of the image says nothing of its class"


def _size(known: _Known) -> Found:
    view = known.chosen["field_of_view_mm"]
    if view and any(0 in (grid.row_mm, grid.column_mm) for grid in known.grids):
        raise known.refuse("files that state no pixel size can be shown whole only: field_of_view_mm is 0 for them")
    pixels: Counter[float] = Counter()
    for grid, count in known.grids.items():
        pixels[view / min(grid.row_mm, grid.column_mm) if view else max(grid.rows, grid.columns)] += count
    middle = round(quantile(pixels, 0.5))
    size = next((size for size in SIZES if size >= 0.9 * middle), SIZES[-1])
    beyond = "; more costs more than it was found to bring" if middle > 1.1 * size else ""
    return size, f"the median image has {middle} pixels in that field{beyond}"


def _kinds(known: _Known) -> tuple[set[str], set[str]]:
    """Modalities and units."""
    pairs = [kind.rpartition(" ")[::2] for kind in known.fingerprint.kinds]
    return {modality for modality, _ in pairs}, {units for _, units in pairs}


def _modality(known: _Known) -> Found:
    modalities = sorted(_kinds(known)[0])
    if len(modalities) == 1:
        return modalities[0], "all images state it" if modalities[0] else "no image states one"
    return "", f"the images are {', '.join(name or 'unknown' for name in modalities)}"


def _units(known: _Known) -> Found:
    units = sorted(_kinds(known)[1])
    if len(units) > 1:
        raise known.refuse(
            f"grey values are in {' and '.join(units)}: they do not mean the same; make a manifest of each"
        )
    return units[0], "all images are in these"


def _intensity(known: _Known) -> Found:
    words = {
        "HU": ("window", "HU are calibrated: one window for all images"),
        "RGB": ("fixed", "colours 0 to 255 as they are"),
    }
    own = "grey values without calibration: 1st and 99th percentile of each image become 0 and 1"
    return words.get(known.chosen["units"], ("percentile", own))


def _window(known: _Known) -> Found | None:
    if known.chosen["intensity"] != "window":
        return None
    body: Counter[int] = Counter()
    for kind, tally in known.fingerprint.values.items():
        if kind.endswith(" HU"):
            body.update({at: count for at, count in tally.items() if at * 8 >= -900})
    if not body:
        raise known.refuse("no pixel lies above -900 HU")
    low, high = (round(8 * quantile(body, share) / 10) * 10 for share in (0.005, 0.995))
    high = max(high, low + 10)
    return [(low + high) / 2, high - low], f"99 % of the pixels above -900 HU lie in {low} to {high} HU"


def _network(known: _Known) -> Found:
    return "resnet18", "small, well known, and its evidence is exact"


def _stem(known: _Known) -> Found | None:
    if "stem" not in REGISTRY[known.chosen["network"]].options:
        return None
    small = known.chosen["size"] <= SMALL_STEM
    if known.chosen["pretrained"] == "imagenet":
        return "imagenet", "the weights are of it"
    return ("small", f"at {known.chosen['size']} pixels nothing can be spared") if small else ("imagenet", "the usual")


def _pretrained(known: _Known) -> Found:
    return "random", "nothing is downloaded unasked; 'imagenet' is worth trying with few patients"


def _preset(known: _Known) -> Found:
    return "adamw", "AdamW with warm-up and cosine needs little tuning"


def _learning_rate(known: _Known) -> Found:
    if known.chosen["pretrained"] == "random":
        return 0.001, "the usual from random weights"
    return 0.0001, "a tenth of the usual: the weights are good already"


def _batch(known: _Known) -> Found:
    chosen, images = known.chosen, known.images
    channels = 3 if chosen["units"] == "RGB" else 1
    options = {name: chosen[name] for name in ("stem",) if name in chosen}
    if "image_size" in REGISTRY[chosen["network"]].options:
        options["image_size"] = chosen["size"]
    wanted = max(8, min(64, 2 ** ((images // 8).bit_length() - 1)))
    needed = {}
    for batch in (64, 32, 16, 8, 4, 2):
        facts = {"labels": len(known.manifest.classes), "channels": channels, "size": chosen["size"], "batch": batch}
        try:
            needed[batch] = training_bytes(chosen["network"], options, **facts) / 2**30
        except (RuntimeError, ValueError) as error:
            raise known.refuse(f"{chosen['network']} does not take {chosen['size']} pixels ({error})") from error
        if batch <= wanted and needed[batch] <= known.memory_gib:
            break
    else:
        reason = f"{chosen['network']} at {chosen['size']} pixels takes {needed[2]:.1f} GiB even with two images a step"
        raise known.refuse(f"{reason}, and {known.memory_gib:g} GiB are allowed")
    limit = f"{images} images" if batch == wanted else f"{known.memory_gib:g} GiB"
    return batch, f"as many as {limit} allow, at most 64; a step takes about {needed[batch]:.1f} GiB"


def _norm(known: _Known) -> Found | None:
    if "norm" not in REGISTRY[known.chosen["network"]].options:
        return None
    if known.chosen["pretrained"] == "imagenet":
        return "batch", "the weights are of it"
    small = known.chosen["batch"] < 16
    return ("group", "batches under 16 have no good statistics") if small else ("batch", "the usual")


def _epochs(known: _Known) -> Found:
    epochs = min(100, max(10, round(STEPS * known.chosen["batch"] / known.images)))
    return epochs, f"about {STEPS} steps, 10 to 100 passes; a fixed budget: nothing is selected on the way"


def _sampler(known: _Known) -> Found:
    if known.wishes.get("class_weights", "none") != "none":
        return "natural", "the loss is weighed by class"
    counts = known.fingerprint.images
    most, least = max(counts.values()), min(counts.values())
    if least and most / least > 3:
        return "balanced", f"the commonest class has {most / least:.1f} times the images of the rarest"
    sizes = known.fingerprint.group_sizes
    if quantile(sizes, 0.95) > 5 * quantile(sizes, 0.5):
        return "group_balanced", "a few groups have most of the images"
    return "natural", "classes and groups are even enough"


def _class_weights(known: _Known) -> Found:
    even = known.chosen["sampler"] == "natural"
    return "none", "no class is rare enough, or it was decided so" if even else "the sampler answers unequal numbers"


def _augmentation(known: _Known) -> Found:
    return "medium", "images elsewhere differ in position, size, grey values, noise and sharpness"


def _flips(known: _Known) -> Found:
    return [], "left and right may be what the label is about"


def _amp(known: _Known) -> Found:
    return "off", "float32; 'bfloat16' is faster where the processor has it"


def _scheme(known: _Known) -> Found:
    rows = [row for row in known.manifest.rows if row.label]
    words = {row.split for row in rows}
    if words != {""} and (odd := sorted(words - set(COLUMN_ROLES))):
        named = ", ".join(f"'{word}'" for word in odd)
        reason = f"the column split has {named} beside {', '.join(COLUMN_ROLES)}"
        raise known.refuse(f"{reason}: correct it, or decide with --set scheme=k_fold that it does not count")
    if "test" in words:
        return "column", "the manifest says who is for training and who for testing"
    if rows and all(row.fold is not None for row in rows):
        return "fold_column", "the manifest says which fold each group is in"
    sites = {row.site for row in rows} - {""}
    more = f"; {len(sites)} sites: scheme=leave_site_out tells how it does at a new one" if len(sites) > 1 else ""
    return "k_fold", f"every group is tested on once{more}"


def _folds(known: _Known) -> Found | None:
    if known.chosen["scheme"] != "k_fold":
        return None
    name, least = min(known.fingerprint.groups.items(), key=lambda item: item[1])
    if least < 2:
        raise known.refuse(
            f"class {name} has {least} groups: at least two are needed to learn from one and test another"
        )
    return min(5, least), "five is the usual" if least >= 5 else f"class {name} has only {least} groups"


def _seeds(known: _Known) -> Found:
    groups = known.fingerprint.group_count
    if groups < MANY_GROUPS:
        return 3, f"{groups} groups: the chance of a training shows in the figures, so that it is repeated"
    return 1, f"{groups} groups: the chance of one training hardly shows"


RULES: Mapping[str, Callable[[_Known], Found | None]] = {
    "plane": _plane,
    "field_of_view_mm": _field_of_view,
    "size": _size,
    "modality": _modality,
    "units": _units,
    "intensity": _intensity,
    "window": _window,
    "network": _network,
    "pretrained": _pretrained,
    "stem": _stem,
    "preset": _preset,
    "learning_rate": _learning_rate,
    "batch": _batch,
    "norm": _norm,
    "epochs": _epochs,
    "sampler": _sampler,
    "class_weights": _class_weights,
    "augmentation": _augmentation,
    "flips": _flips,
    "amp": _amp,
    "scheme": _scheme,
    "folds": _folds,
    "seeds": _seeds,
}
