"""`medimg`: the command line. Each verb is a function; a Refusal becomes one line on stderr and an exit status."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, resources
from .engine.errors import Refusal
from .engine.result import NOTICE
from .engine.runtimes import DEVICES, PRECISIONS, RUNTIMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `medimg`. Returns 0, or the exit status of the refusal (2 usage ... 6 cancelled)."""
    parsed = _parser().parse_args(arguments)
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):  # being ended leaves as little behind as Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # labels and paths are of any script, a terminal may not be
    try:
        status = int(parsed.run(parsed) or 0)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        refusal = Refusal("CANCELLED")
    except MemoryError as full:
        refusal = Refusal("RESOURCE_MEMORY", device="cpu", reason=str(full) or "of this computer")
    except Refusal as raised:
        refusal = raised
    print(refusal.message(_language()), file=sys.stderr)
    return refusal.exit_status


def _language() -> str:
    wanted = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "zh" if wanted.startswith("zh") else "en"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medimg", description=f"Classify CT and MR volumes. {NOTICE}")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    classify = verbs.add_parser("classify", help="classify a volume: table, results, overlay picture and MRML scene")
    classify.add_argument(
        "input", type=_given, metavar="INPUT", help="DICOM folder or file, .nii(.gz), .nrrd, .mha, .png, .jpg"
    )
    classify.add_argument("--bundle", required=True, metavar="NAME|PATH", help="a bundle by its name or path")
    classify.add_argument("--out", required=True, type=_folder, metavar="DIR", help="folder for the results")
    classify.add_argument("--series", metavar="UID", help="which series, where the folder holds several")
    _add_runtime(classify)
    classify.add_argument("--batch", type=_positive, default=16, help="slices at once (default 16)")
    classify.add_argument(
        "--evidence",
        choices=("network", "occlusion", "none"),
        default="network",
        help="where the answer comes from: by the network's own method, by covering parts of the image (slow), or not",
    )
    classify.set_defaults(run=_classify)

    view = verbs.add_parser("view", help="see a volume, its answer and its evidence in a browser on this computer")
    view.add_argument("input", nargs="?", type=_folder, metavar="INPUT", help="what to open first: as for classify")
    view.add_argument("--bundle", metavar="NAME", default="", help="the model to choose")
    view.add_argument("--series", metavar="UID", help="which series, where INPUT holds several")
    view.add_argument("--port", type=_port, default=0, help="of 127.0.0.1 (default: any that is free)")
    view.add_argument("--root", type=_folder, metavar="DIR", help="let the page open what lies in this folder")
    view.add_argument("--classify", action="store_true", help="classify INPUT at once")
    view.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    view.add_argument(
        "--once", type=_folder, metavar="DIR", help="write views.png and the results into DIR, and end: no browser"
    )
    view.set_defaults(run=_view)

    bundles = verbs.add_parser("bundles", help="list the bundles, shipped and imported, with their cards")
    bundles.set_defaults(run=_bundles)

    install = verbs.add_parser("install", help="import a bundle: check it whole, replay its self-test, then copy it")
    install.add_argument("source", type=_folder, metavar="PATH", help="a bundle's folder or zip")
    install.set_defaults(run=_install)

    remove = verbs.add_parser("remove", help="remove an imported bundle")
    remove.add_argument("name", type=_given, metavar="NAME")
    remove.set_defaults(run=_remove)

    verify = verbs.add_parser("verify", help="check a bundle's files and its self-test on every runtime here")
    verify.add_argument("bundle", metavar="NAME|PATH")
    verify.set_defaults(run=_verify)

    doctor = verbs.add_parser("doctor", help="what is installed, which device is used and why, what is missing")
    doctor.set_defaults(run=_doctor)

    kit = verbs.add_parser("kit", help="pack the libraries for a Slicer without internet into one file")
    kit.add_argument(
        "--platform",
        required=True,
        help="of that computer: win_amd64, manylinux_2_28_x86_64, macosx_14_0_arm64, macosx_14_0_x86_64 ...",
    )
    kit.add_argument("--python", default="3.12", metavar="X.Y", help="of that Slicer (default 3.12, of Slicer 5.12)")
    kit.add_argument("--out", required=True, type=_folder, metavar="KIT.zip")
    kit.add_argument("--bundle", nargs="+", default=[], metavar="NAME|PATH", help="bundles to pack with them")
    kit.set_defaults(run=_kit)

    from medimg_training.cli import add_commands

    add_commands(verbs)
    return parser


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime", choices=("auto", *RUNTIMES), default="auto", help="what runs the network")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="bfloat16 and int8 are faster, and refused where the bundle's agreement record does not offer them",
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="of the CPU; all of them if not given")


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("it must be a whole number above 0")
    return int(text)


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 <= int(text) < 65536):
        raise argparse.ArgumentTypeError("it must be a number from 0 to 65535")
    return int(text)


def _given(text: str) -> str:
    if not text:  # an unset variable of a script would otherwise mean the current folder
        raise argparse.ArgumentTypeError("it must not be empty")
    return text


def _folder(text: str) -> Path:
    return Path(_given(text))


def _classify(arguments: argparse.Namespace) -> None:
    from .classify_job import classify_to_folder

    classify_to_folder(
        arguments.input,
        bundle_path(arguments.bundle),
        arguments.out,
        series=arguments.series,
        language=_language(),
        device=arguments.device,
        precision=arguments.precision,
        runtime=arguments.runtime,
        batch=arguments.batch,
        threads=arguments.threads,
        evidence=arguments.evidence,
    )


def _view(arguments: argparse.Namespace) -> None:
    from .viewer.command import view

    if arguments.input is None and (arguments.classify or arguments.once):
        _parser().error("--classify and --once need INPUT")
    if arguments.bundle:
        bundle_path(arguments.bundle)  # refuses one that is not there
    view(
        arguments.input,
        arguments.bundle,
        series=arguments.series,
        port=arguments.port,
        root=arguments.root,
        classify=arguments.classify,
        browser=not arguments.no_browser,
        once=arguments.once,
        language=_language(),
    )


def _bundles(arguments: argparse.Namespace) -> None:
    from .engine.card import read_card
    from .engine.report import wrapped

    imported = resources.imported_bundles()
    for name, path in resources.bundles().items():
        card = read_card(path, _language())
        print("\n".join(wrapped(f"{name} {card.version}  {card.title}{'  (imported)' if name in imported else ''}")))
        for heading, texts in (*card.sections(), ("path", (str(path),))):
            for text in texts:
                first, *more = wrapped(f"{heading}: {text}", 96)
                print("\n".join([f"  {first}", *(f"    {line}" for line in more)]))
    print(NOTICE)


def _install(arguments: argparse.Namespace) -> None:
    from .engine.report import plain
    from .worker.session import Session

    installed = Session().install(arguments.source)
    what = "already installed, unchanged" if installed.already else "checked, self-test passed, installed"
    print(plain(f"{installed.name}: {what} ({installed.path})"))


def _remove(arguments: argparse.Namespace) -> None:
    from .engine.report import plain

    print(plain(f"removed {resources.remove(arguments.name)}"))


def _verify(arguments: argparse.Namespace) -> None:
    from .doctor import replays
    from .engine.bundle import load
    from .engine.runtime_choice import choose

    path = bundle_path(arguments.bundle)
    bundle = load(path)
    print(f"ok  manifest valid, {len(bundle.manifest['files'])} files of the stated size and SHA-256")
    for file, graph in (("model.onnx", bundle.onnx), ("model.int8.onnx", bundle.onnx_int8)):
        if graph is not None:
            print(f"ok  {file}: standard operators only, nothing outside the file, inputs and outputs of this bundle")
    for row in replays(bundle):
        print(row)
    print(f"ok  {choose(bundle).why}")
    print("--  signature: none (who made it is not known)" if "SIGNATURE.json" not in os.listdir(path) else
          "--  signature: present, not checked by this version")  # fmt: skip


def _doctor(arguments: argparse.Namespace) -> None:
    from .doctor import report

    print(report())


def _kit(arguments: argparse.Namespace) -> None:
    from .kit import make

    bundles = [bundle_path(name) for name in arguments.bundle]
    kit = make(
        arguments.platform, arguments.python, arguments.out, bundles, lambda line: print(f"  {line}", flush=True)
    )
    total = sum(size for size, _ in kit.files.values())
    print(f"{kit.path}: {len(kit.files)} files, {total / 1e6:.0f} MB, for Python {kit.python} on {kit.platform}")
    print("In Slicer press Classify and choose 'From an offline kit...'.")


def bundle_path(name: str) -> Path:
    """A shipped or imported bundle's folder by its name, or a given path. Raises Refusal(USAGE_BUNDLE_UNKNOWN)."""
    known = resources.bundles()
    if name in known:
        return known[name]
    if os.path.exists(name):  # unlike Path.exists, False for a name that no file system takes
        return Path(name)
    raise Refusal("USAGE_BUNDLE_UNKNOWN", name=name, known=", ".join(known) or "none")


if __name__ == "__main__":
    sys.exit(main())
