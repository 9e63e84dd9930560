"""`medimg plan`: what a data set is like, and every choice of a training on it with its reason."""

from __future__ import annotations

import argparse
import json
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedImgClassifierLib.engine.errors import Refusal

from .argument_types import number
from .export_command import libraries
from .plan import check

if TYPE_CHECKING:
    from .datasets.manifest import Manifest
    from .plan import Plan


def add_command(subparsers: Any) -> None:
    """Add the verb `plan` to the subparsers of `medimg`."""
    plan = subparsers.add_parser(
        "plan",
        help="look at the data of a manifest and write down how to train on them",
        description="Reads every labelled image once (not those of split 'test'), and writes fingerprint.json (sizes, "
        "spacings, grey values, classes) and plan.json: every choice of the training with its reason. Change a value "
        "in plan.json as you like; the report says which were edited.",
    )
    plan.set_defaults(run=run)
    plan.add_argument("manifest", type=Path, help="manifest.csv, with manifest.json beside it")
    plan.add_argument("--out", type=Path, help="folder of the training; needed unless --dry-run")
    plan.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="CHOICE=VALUE",
        help="decide a choice yourself, e.g. --set network=resnet50 --set size=128; the others follow",
    )
    plan.add_argument(
        "--memory-gib", type=number(0.01, inf), default=4.0, help="memory that a training step may take (4)"
    )
    plan.add_argument(
        "--again", action="store_true", help="replace the plan.json that is there; what was edited in it is lost"
    )
    plan.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")


def run(arguments: argparse.Namespace) -> int:
    """Make the plan, print it, write it. Raises Refusal."""
    out: Path | None = arguments.out
    if out is None and not arguments.dry_run:
        raise Refusal("USAGE_PLAN_CHOICE", name="--out", value="nothing", allowed="a folder, or --dry-run instead")
    wishes = dict(_wish(text) for text in arguments.set)
    for name, value in wishes.items():
        check(name, value)
    if out is not None and not arguments.dry_run and (out / "plan.json").exists() and not arguments.again:
        reason = "it is there already, perhaps edited: edit it, or replace it with --again"
        raise Refusal("DATA_PLAN", path=out / "plan.json", reason=reason)
    with libraries("planning"):
        from .cache import in_plane_of_rows
        from .crossval import drawn
        from .datasets.manifest import Manifest
        from .datasets.problems import listed_in
        from .fingerprint import take_fingerprint
        from .plan_rules import make_plan

        with listed_in(None if arguments.dry_run else out):
            manifest = Manifest.read(arguments.manifest)
            rows = planned_rows(manifest)
            fingerprint = take_fingerprint(manifest, rows, wishes.get("plane", "native"), progress=True)
            plan = make_plan(fingerprint, manifest, wishes, arguments.memory_gib)
            if plan["plane"] not in ("native", wishes.get("plane")):  # images are counted in the plane they are cut in
                fingerprint = take_fingerprint(manifest, rows, plan["plane"], progress=True)
            plan = make_plan(fingerprint, manifest, wishes, arguments.memory_gib)
            in_plane_of_rows(plan.input_spec(), rows, manifest.path)
            drawn(plan, manifest)  # what its scheme refuses is refused now
        print(_in_words(plan, manifest))
        if out is not None and not arguments.dry_run:
            try:
                out.mkdir(parents=True, exist_ok=True)
                fingerprint.write(out / "fingerprint.json")
                plan.write(out / "plan.json")
            except OSError as error:
                raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=error.strerror) from error
            print(out / "plan.json")
    return 0


def planned_rows(manifest: Manifest) -> list[Any]:
    """Labelled rows that a plan may look at: those of the split 'test' stay unseen."""
    rows = [row for row in manifest.rows if row.label and row.split != "test"]
    if not rows:
        raise Refusal("DATA_PLAN", path=manifest.path, reason="no labelled row is outside the split 'test'")
    return rows


def _wish(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Refusal("USAGE_PLAN_CHOICE", name=name, value="nothing", allowed="CHOICE=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _in_words(plan: Plan, manifest: Manifest) -> str:
    return f"{len(manifest.rows)} samples of {', '.join(manifest.classes)}\n\n{plan.to_markdown()}"
