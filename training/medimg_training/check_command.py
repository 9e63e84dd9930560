"""`medimg check`: everything in a manifest that could fool its trainer, before hours are spent.

checks.md, checks.json    what each check found, with the numbers behind it
checks_rows.csv           every offending sample
leakage.md, leakage.png   with --by-slice: what a split by slice would claim
waivers.json              why training may go on although a check fires
"""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.errors import Refusal

from .export_command import libraries

if TYPE_CHECKING:
    from .checks.model import CheckInput
    from .datasets.manifest import Manifest


def add_command(subparsers: Any) -> None:
    """Add the verb `check` to the subparsers of `medimg`; its `run` takes the parsed arguments."""
    check = subparsers.add_parser(
        "check",
        help="look in a manifest for leaks, copies and shortcuts before training",
        description="Looks for what makes figures too good: copies in two groups, contradictory labels, headers, "
        "background or sites that give the label away. Exit status 3 where a check fires that is not waived.",
    )
    check.set_defaults(run=run)
    check.add_argument("manifest", type=Path, help="manifest.csv, with manifest.json beside it")
    check.add_argument("--split", type=Path, help="its split.json: copies then count only across roles")
    check.add_argument("--out", type=Path, metavar="DIR", help="folder of the report ('checks' beside the manifest)")
    check.add_argument("--plane", choices=("native", "axial", "sagittal", "coronal"), default="native")
    check.add_argument("--size", type=int, choices=(32, 64, 128, 224), default=64, help="rows and columns looked at")
    check.add_argument("--backbone", metavar="NAME|PATH", help="bundle that training will start from")
    check.add_argument("--key", type=Path, metavar="FILE", help="key under which it says its training groups")
    check.add_argument("--waive", metavar="CODE", help="let training go on although this check fires")
    check.add_argument("--reason", default="", help="why; goes with --waive")
    check.add_argument("--who", default="", help="who waives it (the user of this computer)")
    check.add_argument(
        "--by-slice",
        action="store_true",
        help="also show by how much a split by slice instead of by patient would overstate (leakage.md, leakage.png)",
    )
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--language", choices=("en", "zh"), default="en", help="of checks.md")


def run(arguments: argparse.Namespace) -> int:
    """Check, write the report, print it. Raises Refusal, DATA_CHECK where a check fires and is not waived."""
    out: Path = arguments.out or arguments.manifest.parent / "checks"
    with libraries("checking a manifest"):
        from .checks.run import run_checks
        from .checks.waivers import read_waivers, waive
        from .datasets.manifest import Manifest
        from .datasets.problems import listed_in

        with listed_in(out):
            manifest = Manifest.read(arguments.manifest)
        try:
            waivers = read_waivers(out)
            if arguments.waive is not None:
                who = arguments.who or _user()
                waivers = dict(waive(out, arguments.waive, arguments.reason, who, manifest.sha256))
            there = next(folder for folder in out.absolute().parents if folder.exists())
            with TemporaryDirectory(prefix=f".{out.name}.", dir=there) as scratch:
                data = _gathered(arguments, manifest, Path(scratch))
                report = run_checks(data, waivers)
                report.write(out, arguments.language)
                if arguments.by_slice:
                    print(_demonstrated(data, out))
                del data  # Windows removes no file that is mapped
        except OSError as error:
            raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=error.strerror or error) from error
    print(report.to_markdown(arguments.language))
    report.require(out)
    return 0


def _demonstrated(data: CheckInput, out: Path) -> str:
    """What a split by slice would claim, in words; also as leakage.md and leakage.png in `out`."""
    from .durable import write_durably
    from .leakage import demonstrate, picture

    demo = demonstrate(data.prepared, data.seed)
    write_durably(out / "leakage.md", demo.to_markdown().encode())
    picture(demo, out / "leakage.png")
    return demo.to_markdown()


def _gathered(arguments: argparse.Namespace, manifest: Manifest, scratch: Path) -> CheckInput:
    from MedImgClassifierLib.engine.bundle import load

    from .checks.reuse import read_key, trained_on
    from .checks.run import gather
    from .split import Split

    split = Split.read(arguments.split, manifest) if arguments.split else None
    key = read_key(arguments.key) if arguments.key else None
    name = arguments.backbone
    backbone = trained_on(load(resources.bundles().get(name, Path(name)))) if name else None
    looks: dict[str, Any] = {"size": arguments.size, "plane": arguments.plane, "seed": arguments.seed}
    return gather(manifest, scratch / "cache", split, **looks, backbone=backbone, key=key, progress=True)


def _user() -> str:
    """The name of who is logged in; '' where the computer does not know (a container), which a waiver refuses."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return os.environ.get("USER", "")
