"""What can be followed while a network is fitted: history.jsonl, TensorBoard, and a bar or lines with the time left."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal

from .durable import write_durably

Entry = Mapping[str, Any]
"""What is known of one epoch: epoch, loss, rate, gradient_norm, seconds, images_per_second, select_..."""


def write_history(out: Path, history: Sequence[Entry]) -> None:
    """history.jsonl in `out`: a line an epoch."""
    write_durably(out / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in history).encode())


def require_tensorboard() -> Any:
    """Its SummaryWriter. Raises Refusal RESOURCE_MISSING_LIBRARY where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        facts = {"library": "tensorboard", "purpose": "--tensorboard", "command": "pip install tensorboard"}
        raise Refusal("RESOURCE_MISSING_LIBRARY", **facts) from error
    return SummaryWriter


class TensorBoard:
    """Curves of a history in the folder `out`/tensorboard, for `tensorboard --logdir`.

    A run that goes on writes what came before once more: TensorBoard shows the history, whatever a crash has lost.
    Raises Refusal RESOURCE_MISSING_LIBRARY where tensorboard is not installed.
    """

    def __init__(self, out: Path) -> None:
        self._make = require_tensorboard()
        self._folder = out / "tensorboard"
        self._writer: Any = None

    def show(self, entries: Sequence[Entry]) -> None:
        self._writer = self._writer or self._make(str(self._folder), purge_step=0)
        for entry in entries:
            for name, value in entry.items():
                if name != "epoch":
                    self._writer.add_scalar(name.replace("select_", "select/"), value, entry["epoch"])
        self._writer.flush()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


class Progress:
    """One bar over all batches of all epochs; where there is no terminal, a plain line an epoch.

    Both go to the standard error and tell the time left.
    """

    def __init__(self, shown: bool, batches: int, done: int) -> None:
        self._lines = shown and not sys.stderr.isatty()
        self._bar = tqdm(desc="fit", total=batches, initial=done, disable=not shown or self._lines, unit="batch")
        self._batches, self._first, self._done, self._started = batches, done, done, perf_counter()

    def batch(self) -> None:
        self._done += 1
        self._bar.update()

    def epoch(self, entry: Entry, epochs: int) -> None:
        values = {name: f"{value:.4g}" for name, value in entry.items() if name != "epoch"}
        self._bar.set_postfix({name: value for name, value in values.items() if "loss" in name or "accuracy" in name})
        if self._lines:
            spent = perf_counter() - self._started
            left = tqdm.format_interval(spent / max(1, self._done - self._first) * (self._batches - self._done))
            told = ", ".join(f"{name} {value}" for name, value in values.items())
            print(f"fit: epoch {entry['epoch'] + 1} of {epochs}, {left} left: {told}", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
