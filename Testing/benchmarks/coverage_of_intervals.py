"""How often does each 95 % interval hold the truth? Simulations whose truth is known, 500 a row.

    python Testing/benchmarks/coverage_of_intervals.py --out out/coverage [--runs 500]

writes coverage.json and coverage.md. Rows that stand in coverage.json with the same number of runs are not run again,
so it goes on where it was stopped. A run that gets "no interval" is counted as such and not as a miss. `above` and
`below`: how often the truth lay above or below the interval.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from simulated_answers import SETTINGS, Outcome, Random

from medimg_training.checkpoint import write_durably

NOMINAL, TOLERANCE, RUNS = 0.95, 0.03, 500


@dataclass(frozen=True)
class Row:
    """Coverage of one method in one setting; seed: of its first run."""

    method: str
    setting: str
    seed: int
    runs: int
    without: int
    coverage: float
    above: float
    below: float
    width: float
    seconds: float

    @property
    def verdict(self) -> str:
        if self.without == self.runs:
            return "not shown"
        if abs(self.coverage - NOMINAL) <= TOLERANCE + 1e-9:
            return "ok"
        return "wide" if self.coverage > NOMINAL else "MISSES"


def measure(method: str, setting: str, run: Callable[[Random], Outcome], runs: int) -> Row:
    """The row of one setting; its seed follows from its name."""
    seed, began = zlib.crc32(f"{method}|{setting}".encode()), time.perf_counter()
    above = below = shown = 0
    width = 0.0
    for n in range(runs):
        truth, interval = run(np.random.default_rng([seed, n]))
        if interval is not None:
            shown, width = shown + 1, width + interval.high - interval.low
            above, below = above + (truth > interval.high + 1e-12), below + (truth < interval.low - 1e-12)
    of = max(shown, 1)
    seconds = time.perf_counter() - began
    return Row(
        method,
        setting,
        seed,
        runs,
        runs - shown,
        1 - (above + below) / of,
        above / of,
        below / of,
        width / of,
        round(seconds, 1),
    )


def to_markdown(rows: list[Row]) -> str:
    lines = ["| interval | setting | covered | truth above / below | mean width | no interval | within 95 ± 3 | seed |"]
    lines.append("|---" * 8 + "|")
    for row in rows:
        sides = f"{row.above:.3f} / {row.below:.3f}"
        cells = (
            row.method,
            row.setting,
            f"{row.coverage:.3f}",
            sides,
            f"{row.width:.3f}",
            row.without,
            row.verdict,
            row.seed,
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default="", help="only methods whose name holds this")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "coverage.json"
    known = [Row(**own) for own in json.loads(path.read_text())] if path.exists() else []
    done = {(row.method, row.setting): row for row in known if row.runs == arguments.runs}
    for key, run in SETTINGS.items():
        if key in done or arguments.only not in key[0]:
            continue
        done[key] = row = measure(*key, run, arguments.runs)
        print(
            f"{row.verdict:7} {row.coverage:.3f} {row.width:.3f} {row.seconds:5.1f} s  {row.method}, {row.setting}",
            flush=True,
        )
        rows = [done[key] for key in SETTINGS if key in done]
        write_durably(path, json.dumps([asdict(row) for row in rows], indent=1).encode())
        write_durably(arguments.out / "coverage.md", to_markdown(rows).encode())


if __name__ == "__main__":
    main()
