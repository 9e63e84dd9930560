"""The answers of all checks together, with the waivers: `checks.json`, `checks.md`, `checks_rows.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MedImgClassifierLib.engine.errors import Refusal

from ..durable import write_durably
from . import words
from .model import CheckResult
from .waivers import Waiver

JSON, MARKDOWN, ROWS = "checks.json", "checks.md", "checks_rows.csv"
FORMAT = 1


@dataclass(frozen=True)
class Report:
    """manifest_sha256: of what was checked; waivers: all that were given, also those that have lapsed."""

    results: tuple[CheckResult, ...]
    manifest_sha256: str
    waivers: Mapping[str, Waiver]

    @property
    def waived(self) -> Mapping[str, Waiver]:
        """Waivers of checks that fire, given for these data."""
        firing = {result.code for result in self.results if result.status == "fires"}
        return {code: waiver for code, waiver in self._valid().items() if code in firing}

    @property
    def stopping(self) -> tuple[CheckResult, ...]:
        """The checks that fire and are not waived."""
        return tuple(r for r in self.results if r.status == "fires" and r.code not in self.waived)

    @property
    def unneeded(self) -> tuple[str, ...]:
        """Checks that are waived and do not fire."""
        return tuple(code for code in self._valid() if code not in self.waived)

    @property
    def lapsed(self) -> tuple[str, ...]:
        """Checks whose waiver was given for other data."""
        return tuple(code for code in self.waivers if code not in self._valid())

    def require(self, folder: Path) -> None:
        """Raise Refusal DATA_CHECK where a check fires that is not waived. folder: where the report lies."""
        if self.stopping:
            codes = ", ".join(result.code for result in self.stopping)
            raise Refusal("DATA_CHECK", checks=codes, path=folder / MARKDOWN, first=self.stopping[0].code)

    def write(self, folder: Path, language: str = "en") -> None:
        """Write the three files into a folder; checks.md in 'en' or 'zh', the table's reasons in English."""
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / ROWS, self._table().encode())
        write_durably(folder / MARKDOWN, self.to_markdown(language).encode())
        content = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_durably(folder / JSON, (content + "\n").encode())

    def to_json(self) -> dict[str, Any]:
        checks = [
            {
                "code": result.code,
                "status": result.status,
                "message": {"en": result.message(), "zh": result.message("zh")},
                "advice": {"en": result.advice(), "zh": result.advice("zh")},
                "numbers": dict(result.numbers),
                "rows": len(result.rows),
            }
            for result in self.results
        ]
        return {
            "format": FORMAT,
            "manifest_sha256": self.manifest_sha256,
            "stopping": [result.code for result in self.stopping],
            "waived": {code: asdict(waiver) for code, waiver in self.waived.items()},
            "unneeded_waivers": list(self.unneeded),
            "lapsed_waivers": list(self.lapsed),
            "checks": checks,
        }

    def to_markdown(self, language: str = "en") -> str:
        """A table of the checks, and what is to be said of the waivers. language: 'en' or 'zh'."""
        own = int(language == "zh")
        lines = [f"# {words.TITLE[own]}", "", _line(words.COLUMNS[own]), "|---|---|---|---|"]
        for result in self.results:
            waiver = self.waived.get(result.code)
            advice = words.WAIVED[own].format(**asdict(waiver)) if waiver else result.advice(language)
            answer = words.ANSWERS["waived" if waiver else result.status][own]
            lines.append(_line((result.code, answer, result.message(language), advice)))
        notes = [words.UNNEEDED[own].format(code=code) for code in self.unneeded]
        notes += [words.LAPSED[own].format(code=code) for code in self.lapsed]
        return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"

    def _valid(self) -> dict[str, Waiver]:
        return {code: waiver for code, waiver in self.waivers.items() if waiver.manifest_sha256 == self.manifest_sha256}

    def _table(self) -> str:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["check", "sample", "group", "other_sample", "other_group", "reason"])
        for result in self.results:
            for row in result.rows:
                table.writerow([result.code, row.sample, row.group, row.other, row.other_group, row.reason])
        return text.getvalue()


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
