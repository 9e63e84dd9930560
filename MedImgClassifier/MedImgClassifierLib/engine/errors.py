"""Refusals: a clear no with a code, what happened and what to do about it, in English and Chinese.

A refusal is raised as `Refusal("INPUT_NOT_FOUND", path=...)`; faces (command line, panel) show
`refusal.message(language)`, which is one line of the form `error[CODE]: what happened; what to do`.
"""

from __future__ import annotations

from .refusal_texts import TEXTS

# The family of a code (the part before the first underscore) decides the exit status of `medimg`.
EXIT_STATUS = {"USAGE": 2, "INPUT": 3, "DATA": 3, "BUNDLE": 4, "RESOURCE": 5, "CANCELLED": 6}


def first_line(error: BaseException) -> str:
    """What a library's exception says, short enough for a Refusal; '' where it says nothing."""
    return str(error).strip().split("\n")[0][:200]


class Refusal(Exception):
    """A clear no: raised wherever the package cannot or must not go on.

    code: a key of refusal_texts.TEXTS; facts: the values its texts name. A missing fact is a
    programming error (KeyError), so that no half-filled sentence reaches a user.
    """

    def __init__(self, code: str, **facts: object) -> None:
        self.code = code
        self.facts = facts
        super().__init__(self.message())

    def message(self, language: str = "en") -> str:
        """One line: `error[CODE]: what happened; what to do`. language: 'en' or 'zh'."""
        text = TEXTS[self.code]
        what, advice = (text.what_zh, text.advice_zh) if language == "zh" else text[:2]
        line = f"error[{self.code}]: {what.format(**self.facts)}; {advice.format(**self.facts)}"
        # file names, series descriptions and labels come from outside: none may move the cursor of a terminal
        return " ".join("".join(c if c.isprintable() else " " for c in line).split())

    @property
    def exit_status(self) -> int:
        """Exit status of `medimg`: 2 usage, 3 input, 4 bundle, 5 out of resources, 6 cancelled."""
        return EXIT_STATUS[self.code.split("_")[0]]
