"""Tables as people save them: comma, semicolon, tab or bar; with Excel's byte order mark and `sep=` line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from MedImgClassifierLib.engine.errors import Refusal

from .problems import RowProblem, RowsRefusal

_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """columns in their order; rows: line of the file and column -> text, as it stands there."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]

    def column(self, name: str, purpose: str) -> str:
        """The column of that name, else the only one that is written alike. Raises Refusal DATA_SOURCE."""
        found = [name] if name in self.columns else [own for own in self.columns if plain(own) == plain(name)]
        if len(found) != 1:
            reason = f"there is no column '{name}' for {purpose} (there are {', '.join(self.columns)})"
            raise Refusal("DATA_SOURCE", path=self.path, where="line 1", reason=reason)
        return found[0]


def plain(name: str) -> str:
    """A column's name without case, spaces, hyphens and underscores."""
    return "".join(c for c in name.casefold() if c.isalnum())


def read_table(path: Path) -> Table:
    """A CSV file in UTF-8. The delimiter is the one that parts the first line into most columns.

    Raises Refusal DATA_SOURCE for a file that is no such table; as RowsRefusal where rows are damaged.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        reason = "it is not UTF-8; save it as 'CSV UTF-8'"
        raise Refusal("DATA_SOURCE", path=path, where="file", reason=reason) from error
    except OSError as error:
        raise Refusal("DATA_SOURCE", path=path, where="file", reason=error.strerror or str(error)) from error
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().casefold() in {f"sep={delimiter}" for delimiter in _DELIMITERS}:
        delimiter, text, skipped = first.strip()[-1:] or "\t", rest, 1
    else:
        delimiter = max(_DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    problems, rows = [], []
    try:
        columns = tuple(name.strip() for name in table.fieldnames or ())
        table.fieldnames = list(columns)
        if len(set(columns)) < len(columns) or not all(columns) or len(columns) < 2:
            reason = f"its columns must be two at least, each with a name of its own (found: {', '.join(columns)})"
            raise Refusal("DATA_SOURCE", path=path, where="line 1", reason=reason)
        for record in table:
            line = table.line_num + skipped
            if None in record or None in record.values():
                problems.append(RowProblem(line, "", "", "it has not as many fields as the first line"))
            else:
                rows.append((line, cast("dict[str, str]", record)))
    except csv.Error as error:  # what follows cannot be told apart
        problems.append(RowProblem(table.line_num + skipped, "", "", str(error)))
    if problems:
        raise RowsRefusal("DATA_SOURCE", path, problems)
    if not rows:
        raise Refusal("DATA_SOURCE", path=path, where="file", reason="it has no rows")
    return Table(path, columns, tuple(rows))
