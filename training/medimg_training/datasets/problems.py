"""What is wrong with the rows of a table: all of it, so that it is corrected in one go."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from MedImgClassifierLib.engine.errors import Refusal

from ..durable import write_durably


@dataclass(frozen=True)
class RowProblem:
    """One mistake. line: of the table, 0 where none is meant; sample and column: '' where none is meant."""

    line: int
    sample: str
    column: str
    reason: str

    @property
    def where(self) -> str:
        return f"line {self.line}" if self.line else f"'{self.sample}'" if self.sample else "content"


class RowsRefusal(Refusal):
    """A refusal of a table or tree of files: its text names the first problem and counts the rows that have one.

    code: one whose text takes path, where and reason (DATA_MANIFEST, DATA_SOURCE); problems: all, at least one.
    """

    def __init__(self, code: str, path: Path, problems: Sequence[RowProblem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (not problem.line, problem.line)))
        first = self.problems[0]
        rows = len({(one.line, one.sample) for one in self.problems if one.line or one.sample})
        count = f" ({rows} rows have problems)" if rows > 1 else ""
        super().__init__(code, path=path, where=first.where, reason=first.reason + count)


FILE = "problems.csv"


@contextmanager
def listed_in(folder: Path | None) -> Iterator[None]:
    """All problems of a refusal of rows that comes out of here stand in `problems.csv` in a folder, if one is given."""
    try:
        yield
    except RowsRefusal as refusal:
        if folder is not None:
            write_problems(folder / FILE, refusal)
            print(f"all {len(refusal.problems)} problems: {folder / FILE}")
        raise


def write_problems(path: Path, refusal: Refusal) -> bool:
    """Write every problem that a refusal carries as CSV (line, sample, column, reason); False where it carries none.

    The folder is made where it is missing. Raises OSError where the file cannot be written.
    """
    if not isinstance(refusal, RowsRefusal):
        return False
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(field.name for field in fields(RowProblem))
    table.writerows(astuple(problem) for problem in refusal.problems)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, text.getvalue().encode())
    return True
