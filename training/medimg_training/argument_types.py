"""Types of command-line arguments: each makes a parser that argparse calls with the text."""

from __future__ import annotations

import re
from collections.abc import Callable


def whole(least: int) -> Callable[[str], int]:
    """Parser of a whole number."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError
        return value

    return whole_number


def number(low: float, high: float) -> Callable[[str], float]:
    """Parser of a number low <= x < high."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value < high:
            raise ValueError
        return value

    return number


def text(pattern: str) -> Callable[[str], str]:
    """Parser of a text that the pattern matches whole."""

    def text(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return text
