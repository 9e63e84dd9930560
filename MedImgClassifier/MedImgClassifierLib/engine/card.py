"""The card of a bundle: what it says of itself, for whoever chooses one.

Read from the manifest alone, without numpy, schema or hashes, so that a list of bundles opens at once. Nothing on it
has been checked: that happens when a bundle is imported or loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle_files import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE

Section = tuple[str, tuple[str, ...]]
"""A heading and its lines, to be shown as plain text."""


@dataclass(frozen=True)
class Channel:
    """One input. words: e.g. 'image: CT or MR; HU or arbitrary units'."""

    name: str
    modalities: tuple[str, ...]  # as in DICOM; (): any
    units: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one data set. images, groups: None where the bundle does not say.

    words: the figure that counts most, with its 95 % interval; figures: all that cover every class, in words.
    """

    data: str
    images: int | None
    groups: int | None
    words: str
    figures: tuple[str, ...]
    low: float  # lower limit of the figure in `words`; 1 where it has none


@dataclass(frozen=True)
class Card:
    """Texts are one line each, without control characters; those of the bundle are in its own language.

    problem: '' or 'not readable: ...', and everything else is empty then. headline: the least favourable evaluation.
    """

    path: Path
    language: str
    problem: str = ""
    id: str = ""
    version: str = ""
    title: str = ""
    intended_use: str = ""
    out_of_scope: tuple[str, ...] = ()
    known_limits: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    classes: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    headline: str = ""
    calibrated: bool = False
    calibration: str = ""
    licence: str = ""
    credits: tuple[str, ...] = ()
    signature: str = ""
    manifest_sha256: str = ""

    @property
    def usable(self) -> bool:
        return not self.problem

    def sections(self) -> tuple[Section, ...]:
        """The whole card to show, headings in its language; the problem alone where it is not usable."""
        say = _TEXTS[self.language]
        if self.problem:
            return ((say["problem"], (self.problem,)),)
        measured = tuple(evaluation.words for evaluation in self.evaluations)
        sections = (
            (say["intended use"], (self.intended_use,)),
            (say["out of scope"], self.out_of_scope),
            (say["known limits"], self.known_limits),
            (say["inputs"], tuple(channel.words for channel in self.channels)),
            (say["classes"], (say["comma"].join(self.classes),)),
            (say["figures"], measured or (say["not measured"],)),
            (say["calibration"], (self.calibration,)),
            (say["licence"], (self.licence,)),
            (say["credits"], self.credits),
            (say["signature"], (self.signature,)),
            (say["manifest"], (self.manifest_sha256,)),
        )
        return tuple((heading, lines) for heading, lines in sections if lines)


class _Unreadable(Exception):
    """The text says why, in the card's language."""


def read_card(path: Path, language: str = "en") -> Card:
    """The card of a bundle folder or zip; one that cannot be read gives a card with a problem, never an exception.

    language: 'en' or 'zh', of everything but the bundle's own texts.
    """
    language = language if language in _TEXTS else "en"
    say = _TEXTS[language]
    try:
        content, signed = _manifest(path, say)
        return _card(path, content, signed, language)
    except _Unreadable as why:
        return Card(path, language, problem=say["not readable"].format(why=_line(str(why))))


def _manifest(path: Path, say: Mapping[str, str]) -> tuple[bytes, bool]:
    """The manifest's bytes, and whether a signature lies beside it."""
    try:
        if path.is_dir():
            with (path / MANIFEST).open("rb") as file:
                content = file.read(MAX_MANIFEST_BYTES + 1)
            signed = (path / SIGNATURE).exists()
        else:
            content, signed = _manifest_of_zip(path)
    except FileNotFoundError:
        raise _Unreadable(say["no manifest"]) from None
    except OSError as failed:
        raise _Unreadable(failed.strerror or str(failed)) from None
    except (ValueError, LookupError, RuntimeError, EOFError):  # what zipfile and odd paths raise
        raise _Unreadable(say["no bundle"]) from None
    if len(content) > MAX_MANIFEST_BYTES:
        raise _Unreadable(say["too large"])
    return content, signed


def _manifest_of_zip(path: Path) -> tuple[bytes, bool]:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as file:
            return file.read(MAX_MANIFEST_BYTES + 1), SIGNATURE in archive.namelist()
    except (zipfile.BadZipFile, zlib.error) as bad:
        raise ValueError(str(bad)) from None


def _card(path: Path, content: bytes, signed: bool, language: str) -> Card:
    say = _TEXTS[language]
    try:
        manifest = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _Unreadable(say["no JSON"]) from None
    if not isinstance(manifest, dict):
        raise _Unreadable(say["no JSON"])
    read = _Fields(manifest, say)
    if manifest.get("format_version") != 1:
        raise _Unreadable(say["other version"])
    temperature = read.calibration()
    evaluations = tuple(_evaluations(manifest.get("evaluation"), say))
    weakest = min(evaluations, key=lambda evaluation: evaluation.low, default=None)
    return Card(
        path,
        language,
        id=read.text("id"),
        version=read.text("version"),
        title=read.text("title"),
        intended_use=read.text("intended_use"),
        out_of_scope=read.texts("out_of_scope"),
        known_limits=read.texts("known_limits"),
        channels=read.channels(),
        classes=read.classes(),
        evaluations=evaluations,
        headline=weakest.words if weakest else say["not measured"],
        calibrated=temperature is not None,
        calibration=say["uncalibrated"] if temperature is None else say["calibrated"].format(groups=temperature),
        licence=read.text("licence"),
        credits=read.credits(),
        signature=say["signed"] if signed else say["unsigned"],
        manifest_sha256=hashlib.sha256(content).hexdigest(),
    )


class _Fields:
    """A manifest's fields as text. What is missing or of another kind raises _Unreadable, naming it."""

    def __init__(self, manifest: Mapping[str, Any], say: Mapping[str, str]) -> None:
        self._manifest, self._say = manifest, say

    def text(self, key: str) -> str:
        value = self._manifest.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._missing(key)
        return _line(value)

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._manifest.get(key)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._missing(key)
        return tuple(_line(value) for value in values)

    def classes(self) -> tuple[str, ...]:
        return tuple(
            _line(str(label["name"])) for label in self._objects("labels", self._manifest.get("labels"), "name")
        )

    def credits(self) -> tuple[str, ...]:
        given = self._objects("credits", self._manifest.get("credits"), "what", "who", "licence")
        return tuple(_line(f"{credit['what']}: {credit['who']} ({credit['licence']})") for credit in given)

    def channels(self) -> tuple[Channel, ...]:
        inputs = self._manifest.get("input")
        given = inputs.get("channels") if isinstance(inputs, dict) else None
        found = []
        for channel in self._objects("input.channels", given, "name"):
            name = _line(str(channel["name"]))
            modalities, units = (self._names("input.channels", channel.get(key)) for key in ("modality", "units"))
            words = self._say["channel"].format(
                name=name,
                modalities=_either(modalities, self._say) or self._say["any modality"],
                units=_either([self._say.get(unit, unit) for unit in units], self._say) or self._say["any units"],
            )
            found.append(Channel(name, modalities, units, words))
        return tuple(found)

    def calibration(self) -> int | None:
        """Groups that the slice-level calibration rests on; None where there is none."""
        given = self._manifest.get("calibration")
        slices = given.get("slice") if isinstance(given, dict) else None
        if slices is None:
            return None
        groups = slices.get("groups") if isinstance(slices, dict) else None
        if type(groups) is not int:
            raise self._missing("calibration")
        return groups

    def _objects(self, key: str, values: Any, *members: str) -> list[Mapping[str, Any]]:
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self._missing(key)
        if any(not isinstance(value.get(member), str) for value in values for member in members):
            raise self._missing(key)
        return values

    def _names(self, key: str, values: Any) -> tuple[str, ...]:
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._missing(key)
        return tuple(_line(value) for value in values)

    def _missing(self, key: str) -> _Unreadable:
        return _Unreadable(self._say["missing"].format(key=key))


def _evaluations(given: Any, say: Mapping[str, str]) -> Iterator[Evaluation]:
    """The manifest's `evaluation`, as medimg_training.evaluation writes it. The format allows figures of any form: what
    is of another one is told as such."""
    for entry in given if isinstance(given, list) else []:
        entry = entry if isinstance(entry, dict) else {}
        data, measured = _line(str(entry.get("data", "?"))), entry.get("figures")
        measured = measured if isinstance(measured, dict) else {}
        images, groups = (
            value if type(value) is int else None for value in (measured.get("n"), measured.get("groups"))
        )
        given_figures = measured.get("figures")
        overall = {
            str(figure["name"]): figure
            for figure in (given_figures if isinstance(given_figures, list) else [])
            if isinstance(figure, dict) and "name" in figure and figure.get("label") == ""
        }
        on = data
        if images is not None and groups is not None:
            on = say["on"].format(data=data, images=images, groups=groups)
        figures = tuple(_figure(figure, say) for figure in overall.values())
        chosen = overall.get("balanced accuracy") or next(iter(overall.values()), None)
        first = say["other form"] if chosen is None else _figure(chosen, say)
        words = say["measured"].format(on=on, figure=first)
        yield Evaluation(data, images, groups, words, figures, _limits(chosen or {})[0])


def _figure(figure: Mapping[str, Any], say: Mapping[str, str]) -> str:
    """e.g. 'balanced accuracy 0.988 (95 % interval 0.959 to 0.999)'. Limits are rounded outwards."""
    name = _line(str(figure["name"]))
    value = _finite(figure.get("value"))
    shown = "-" if value is None else "> 0.999" if 0.9995 <= value < 1 else f"{value:.3f}"
    low, high = _limits(figure)
    if "interval" in figure and isinstance(figure["interval"], dict) and low <= high:
        span = say["interval"].format(
            low=f"{math.floor(low * 1000) / 1000:.3f}", high=f"{math.ceil(high * 1000) / 1000:.3f}"
        )
    else:
        note = _line(str(figure.get("note") or ""))
        span = say["no interval"] if not note or note.startswith("no interval") else note
    return say["figure"].format(name=say.get(name, name), value=shown, interval=span)


def _limits(figure: Mapping[str, Any]) -> tuple[float, float]:
    """Lower and upper limit; (1, 0) where there are none."""
    interval = figure.get("interval")
    low, high = (_finite(interval.get(key)) for key in ("low", "high")) if isinstance(interval, dict) else (None, None)
    return (1.0, 0.0) if low is None or high is None else (low, high)


def _finite(value: Any) -> float | None:
    if type(value) not in (int, float) or not abs(value) < 1e9:
        return None
    return float(value)


def _either(names: Sequence[str], say: Mapping[str, str]) -> str:
    """e.g. 'CT, MR or CR'."""
    return say["or"].join(part for part in (say["comma"].join(names[:-1]), *names[-1:]) if part)


def _line(text: str) -> str:
    """One line without control characters: a bundle's texts come from outside."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "problem": "Problem",
        "not readable": "not readable: {why}",
        "no manifest": "it holds no manifest.json",
        "no bundle": "it is neither a folder nor a zip with manifest.json",
        "no JSON": "manifest.json is not a JSON object",
        "too large": "manifest.json is larger than a bundle's may be",
        "other version": "its format is not version 1",
        "missing": "manifest.json has no usable '{key}'",
        "intended use": "Intended use",
        "out of scope": "Not for",
        "known limits": "Known limits",
        "inputs": "Inputs",
        "classes": "Classes",
        "figures": "Measured",
        "calibration": "Calibration",
        "licence": "Licence",
        "credits": "Trained on",
        "signature": "Signature",
        "manifest": "SHA-256 of the manifest",
        "comma": ", ",
        "or": " or ",
        "channel": "{name}: {modalities}; {units}",
        "any modality": "any modality",
        "any units": "any units",
        "arbitrary": "arbitrary units",
        "RGB": "colour (RGB)",
        "uncalibrated": "uncalibrated: 0.9 does not mean right 9 times of 10",
        "calibrated": "by temperature, on {groups} groups",
        "signed": "signature present, not checked by this version",
        "unsigned": "unsigned: who made it is not known",
        "not measured": "no figures",
        "on": "{data} ({images} images of {groups} groups)",
        "other form": "figures in a form that is not known here",
        "measured": "{on}: {figure}",
        "figure": "{name} {value} ({interval})",
        "interval": "95 % interval {low} to {high}",
        "no interval": "no interval",
    },
    "zh": {
        "problem": "问题",
        "not readable": "无法读取：{why}",
        "no manifest": "其中没有 manifest.json",
        "no bundle": "它既不是文件夹，也不是含 manifest.json 的 zip 文件",
        "no JSON": "manifest.json 不是 JSON 对象",
        "too large": "manifest.json 超出模型包允许的大小",
        "other version": "其格式不是版本 1",
        "missing": "manifest.json 中没有可用的“{key}”",
        "intended use": "预期用途",
        "out of scope": "不适用于",
        "known limits": "已知局限",
        "inputs": "输入",
        "classes": "类别",
        "figures": "实测指标",
        "calibration": "校准",
        "licence": "许可",
        "credits": "训练数据",
        "signature": "签名",
        "manifest": "清单的 SHA-256",
        "comma": "、",
        "or": "或",
        "channel": "{name}：{modalities}；{units}",
        "any modality": "不限模态",
        "any units": "不限单位",
        "arbitrary": "相对强度单位",
        "RGB": "彩色（RGB）",
        "uncalibrated": "未校准：0.9 并不表示 10 次中有 9 次正确",
        "calibrated": "温度校准，基于 {groups} 个分组",
        "signed": "带有签名，本版本不作核验",
        "unsigned": "未签名：制作者未知",
        "not measured": "无指标",
        "on": "{data}（{groups} 个分组的 {images} 幅图像）",
        "other form": "指标格式在此未知",
        "measured": "{on}：{figure}",
        "figure": "{name} {value}（{interval}）",
        "interval": "95 % 区间 {low} 至 {high}",
        "no interval": "无区间",
        "accuracy": "准确率",
        "balanced accuracy": "平衡准确率",
        "macro precision": "宏平均精确率",
        "macro F1": "宏平均 F1",
        "macro AUC": "宏平均 AUC",
    },
}
