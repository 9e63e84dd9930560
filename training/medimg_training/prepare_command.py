"""`medimg prepare folders|table|dicom|cifar10`: from data as they lie there to manifest.csv and manifest.json.

    manifest.csv, manifest.json   what every other verb starts from
    left_out.csv                  what is not in it, and why
    problems.csv                  instead of all these, where rows are wrong: line, sample, column, reason

Nothing heavy is imported before the verb runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedImgClassifierLib.engine.errors import Refusal

if TYPE_CHECKING:
    from .datasets.draft import Draft
    from .datasets.groups import GroupRule
    from .datasets.problems import RowsRefusal

PROBLEMS = "problems.csv"
_SHOWN = 10
_PICTURES = "PNG, JPEG, NIfTI, NRRD, MetaImage, DICOM"


def add_command(subparsers: Any) -> None:
    """Add the verb `prepare` to the subparsers of `medimg`."""
    prepare = subparsers.add_parser("prepare", help="make a manifest of your data: class folders, a table, DICOM ...")
    doors = prepare.add_subparsers(required=True, metavar="FROM")
    _add_folders(_door(doors, "folders", _folders, f"class folders: ROOT/<class>/<image> ({_PICTURES})"))
    _add_table(_door(doors, "table", _table, "a CSV table with one row an image: path, label, patient ..."))
    _add_dicom(_door(doors, "dicom", _dicom, "a tree of DICOM files, with labels from a CSV table; pseudonymised"))
    _add_cifar10(_door(doors, "cifar10", _cifar10, "the official CIFAR-10 archive"))


def _door(doors: Any, name: str, draft: Callable[[argparse.Namespace], Draft], what: str) -> argparse.ArgumentParser:
    door: argparse.ArgumentParser = doors.add_parser(name, help=what, description=f"Make a manifest of {what}.")
    door.set_defaults(run=run, draft=draft, private=None)
    door.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for manifest.csv and what goes with it"
    )
    door.add_argument("--dry-run", action="store_true", help="say what would be in the manifest; write nothing")
    return door


def _add_classes(door: argparse.ArgumentParser) -> None:
    door.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="in their order (else the alphabet's)")
    door.add_argument(
        "--task",
        choices=("binary", "multiclass", "ordinal"),
        default="",
        help="ordinal: the classes are ranks, lowest first (default: binary for two classes, else multiclass)",
    )


def _add_folders(door: argparse.ArgumentParser) -> None:
    door.add_argument("root", type=Path, help="a folder of class folders, or of train, val and test with these inside")
    rule = door.add_mutually_exclusive_group()
    rule.add_argument(
        "--group-by-pattern",
        metavar="REGEX",
        help="what belongs together, from the path below ROOT: its one capture group, e.g. '(P[0-9]+)_'",
    )
    rule.add_argument(
        "--group-by-folder", action="store_true", help="... from the first folder below the class: class/patient/image"
    )
    rule.add_argument("--group-table", type=Path, metavar="CSV", help="... from a table with columns file and group")
    _add_no_groups(rule)
    _add_group_kind(door, "patient")
    _add_classes(door)


def _add_no_groups(parser: Any) -> None:
    parser.add_argument(
        "--no-groups",
        metavar="REASON",
        default="",
        help="the images have nothing in common, because REASON, which is recorded; images of one patient in training"
        " and test make every figure too good",
    )


def _add_group_kind(door: argparse.ArgumentParser, default: str | None) -> None:
    told = f" (default {default})" if default else " (needed where the column's name does not say it)"
    kinds = ("patient", "cluster", "source_image")
    door.add_argument("--group-kind", choices=kinds, default=default, help="what a group is" + told)


def _add_table(door: argparse.ArgumentParser) -> None:
    door.add_argument("table", type=Path, help="CSV in UTF-8, with comma, semicolon, tab or bar between columns")
    door.add_argument(
        "--column",
        action="append",
        default=[],
        type=_assignment,
        metavar="WHAT=NAME",
        help="which column is what, e.g. --column path=file --column group=patient_id; WHAT: sample, path, label,"
        " group, group_kind, split, study, series_uid, site, scanner, acquired, fold, plane, slice_from, slice_to,"
        " sha256; usual names are found; other columns are kept as covariates",
    )
    door.add_argument("--images", type=Path, metavar="DIR", help="where paths begin (default: the table's folder)")
    _add_no_groups(door)
    _add_group_kind(door, None)
    _add_classes(door)


def _add_dicom(door: argparse.ArgumentParser) -> None:
    door.add_argument("root", type=Path, help="folder with DICOM files, at any depth")
    door.add_argument("--labels", type=Path, required=True, metavar="CSV", help="table of ids and labels")
    by = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    door.add_argument("--by", choices=by, required=True, help="what the ids of that table are")
    door.add_argument("--id-column", default="", metavar="NAME", help="column of the ids (default: named as --by)")
    door.add_argument("--label-column", default="label", metavar="NAME", help="column of the labels (default label)")
    door.add_argument(
        "--private",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder outside --out that stays with you: the key of the pseudonyms, and where each series lies; the"
        " same folder gives the same pseudonyms again",
    )
    door.add_argument("--modality", default="", help="only series of this modality, e.g. CT")
    door.add_argument("--least-images", type=_positive, default=1, metavar="N", help="only series of so many images")
    door.add_argument("--description", default="", metavar="REGEX", help="only series whose description has this in it")
    door.add_argument(
        "--several",
        choices=("refuse", "largest", "all"),
        default="refuse",
        help="if several series of a study are left: stop and list them, take the largest, or take all",
    )
    door.add_argument(
        "--acquired",
        choices=("day", "month", "none"),
        default="month",
        help="how exactly the date of the study is kept (default month: its first day)",
    )
    _add_classes(door)


def _add_cifar10(door: argparse.ArgumentParser) -> None:
    door.add_argument(
        "--archive",
        type=Path,
        required=True,
        metavar="FILE",
        help="cifar-10-python.tar.gz or cifar-10-binary.tar.gz, from https://www.cs.toronto.edu/~kriz/cifar.html",
    )
    door.add_argument("--download", action="store_true", help="get FILE from there if it does not exist (170 MB)")


def _assignment(text: str) -> tuple[str, str]:
    what, equals, name = text.partition("=")
    if not (what and equals and name):
        raise argparse.ArgumentTypeError("it must be WHAT=NAME")
    return what, name


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("it must be a whole number above 0")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Make the manifest, whole or not at all; prints what is in it. Raises Refusal."""
    from .datasets.draft import refuse_existing
    from .datasets.problems import RowsRefusal

    out: Path = arguments.out
    try:
        refuse_existing(out)
        draft: Draft = arguments.draft(arguments)
        draft.check()
        print(draft.summary())
        if arguments.dry_run:
            print("dry run: nothing was written")
            return 0
        print(draft.write(out))
        (_problems_folder(arguments) / PROBLEMS).unlink(missing_ok=True)  # of an earlier attempt
    except RowsRefusal as refusal:
        _tell(refusal, arguments)
        raise
    except OSError as error:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=out, reason=error.strerror or error) from error
    return 0


def _problems_folder(arguments: argparse.Namespace) -> Path:
    """What is wrong with a table of patients names patients: that goes to the private folder."""
    folder: Path = arguments.private or arguments.out
    return folder


def _tell(refusal: RowsRefusal, arguments: argparse.Namespace) -> None:
    """The first problems in the terminal, all of them in problems.csv."""
    from MedImgClassifierLib.engine.report import plain

    from .datasets.problems import write_problems

    for problem in refusal.problems[:_SHOWN]:
        print(plain(f"{problem.where}: {problem.reason}"))
    if not arguments.dry_run:
        path = _problems_folder(arguments) / PROBLEMS
        write_problems(path, refusal)
        print(f"all {len(refusal.problems)} problems: {path}")


def _folders(arguments: argparse.Namespace) -> Draft:
    from .datasets.folders import draft_of_folders
    from .datasets.groups import ByFolder, ByPattern, ByTable, Ungrouped

    rule: GroupRule | None = None
    if arguments.group_by_pattern is not None:
        rule = ByPattern.of(arguments.group_by_pattern, arguments.root)
    elif arguments.group_table is not None:
        rule = ByTable.read(arguments.group_table)
    elif arguments.group_by_folder:
        rule = ByFolder()
    elif arguments.no_groups.strip():
        rule = Ungrouped(arguments.no_groups)
    chosen = {"group_kind": arguments.group_kind, "classes": arguments.classes, "task": arguments.task}
    return draft_of_folders(arguments.root, rule, **chosen, progress=True)


def _table(arguments: argparse.Namespace) -> Draft:
    from .datasets.table import draft_of_table

    return draft_of_table(
        arguments.table,
        columns=dict(arguments.column),
        images=arguments.images,
        group_kind=arguments.group_kind,
        no_groups=arguments.no_groups.strip(),
        classes=arguments.classes,
        task=arguments.task,
    )


def _dicom(arguments: argparse.Namespace) -> Draft:
    from .datasets.dicom_tree import Labels, SeriesRule, draft_of_dicom
    from .datasets.pseudonyms import Pseudonyms, check_apart

    rule = SeriesRule(arguments.modality, arguments.least_images, arguments.description, arguments.several)
    check_apart(arguments.private, arguments.out)
    labels = Labels.read(arguments.labels, arguments.by, arguments.id_column, arguments.label_column)
    pseudonyms = Pseudonyms.throwaway()
    if not arguments.dry_run:
        pseudonyms = Pseudonyms.opened(arguments.private, arguments.out)
    chosen = {"acquired": arguments.acquired, "classes": arguments.classes, "task": arguments.task}
    return draft_of_dicom(arguments.root, labels, rule, pseudonyms, arguments.private, **chosen, progress=True)


def _cifar10(arguments: argparse.Namespace) -> Draft:
    from .datasets.cifar10 import draft_of_cifar10, get_archive

    if arguments.dry_run and not arguments.archive.exists():
        reason = "it is not here, and a dry run downloads nothing"
        raise Refusal("DATA_ARCHIVE", path=arguments.archive, reason=reason)
    if arguments.download:
        get_archive(arguments.archive, progress=True)
    return draft_of_cifar10(arguments.archive, arguments.out, progress=True)
