"""Run by test_killed_fits.py in a process of its own: fits that are killed (SIGKILL) and then gone on with.

    python fits_that_die.py FOLDER      one line of JSON: {scenario: {"killed": ..., "result": ...}}

Each fit is a child of this process, forked after torch is loaded. 'whole' is not disturbed. 'call N' dies at the N-th
call of fsync or replace, so at each step of each write; 'torn N' at its N-th fsync with half of the file on the disk;
'moment N' at some time.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medimg_training import fit as fit_module
from medimg_training.cache import PreparedSet
from medimg_training.fit import fit
from medimg_training.recipe import Recipe
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, ZScore

SPEC = InputSpec((ChannelSpec("image"),), (), (ZScore(0.0, 1.0),))
RECIPE = Recipe.of(
    "adamw",
    "narrow_resnet",
    network_options={"widths": (8, 8), "blocks": (1, 1)},
    epochs=3,
    batch=8,
    ema_decay=0.9,
    accumulate=2,
)
CALLS_OF_A_SAVE = 8
"""Of fsync and replace: three write the file, two rename it, three write history.jsonl. The first has one less."""


def prepared() -> PreparedSet:
    images = np.random.default_rng(0).normal(size=(24, 1, 12, 12)).astype(np.float32)
    names = tuple(map(str, range(24)))
    units, modalities = ("arbitrary",) * 24, ("",) * 24
    return PreparedSet(images, np.arange(24) % 3, ("a", "b", "c"), names, (0,) * 24, names, units, modalities)


def fitted(folder: Path) -> None:
    """Fit, and leave the hash of the weights and the history (without its times) in result.json."""
    data = prepared()
    rows = fold_rows(data, Fold(data.groups[:18], data.groups[18:]))
    result = fit(RECIPE, data, SPEC, rows.fit, rows.select, folder)
    digest = hashlib.sha256()
    for value in result.module.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    history = [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]
    (folder / "result.json").write_text(json.dumps([digest.hexdigest(), history]))


def dying_at(call: int, *, torn: bool = False) -> None:
    """Have this process killed at its `call`-th fsync or replace (with `torn`: fsync, after half of the file)."""
    count, fsync, replace = iter(range(10_000)), os.fsync, os.replace

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_fsync(file: int) -> None:
        if next(count) == call:
            if torn:
                os.ftruncate(file, os.fstat(file).st_size // 2)
            die()
        fsync(file)

    def dying_replace(*paths: Any) -> None:
        if not torn and next(count) == call:
            die()
        replace(*paths)

    os.fsync, os.replace = dying_fsync, dying_replace


def in_a_child(work: Callable[[], None], after: float | None = None) -> bool:
    """Do the work in a child, which is killed after so many seconds; whether a signal ended it."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a fit failed")
    return os.WIFSIGNALED(status)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    started = time.perf_counter()
    in_a_child(lambda: fitted(folder / "whole"))
    duration = time.perf_counter() - started
    found: dict[str, Any] = {
        "whole": {"killed": False, "result": json.loads((folder / "whole/result.json").read_text())}
    }

    def scenario(name: str, first: Callable[[], None], after: float | None = None) -> None:
        own = folder / name

        def disturbed() -> None:
            first()
            fitted(own)

        killed = in_a_child(disturbed, after)
        left = sorted(path.name for path in own.iterdir()) if own.exists() else []
        in_a_child(lambda: fitted(own))
        found[name] = {"killed": killed, "left": left, "result": json.loads((own / "result.json").read_text())}

    for call in range(3 * CALLS_OF_A_SAVE - 1):
        scenario(f"call {call}", lambda call=call: dying_at(call))
    for call in (0, 4, 6):  # the first and the second checkpoint, and a history
        scenario(f"torn {call}", lambda call=call: dying_at(call, torn=True))
    moments = random.Random(0)
    for number in range(8):

        def saving_always() -> None:
            fit_module.SAVE_SECONDS = 0.0

        scenario(f"moment {number}", saving_always, moments.uniform(0.05, 0.9) * duration)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
