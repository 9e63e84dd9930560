"""Every finding: what is to be known before believing a result, in English and Chinese.

A finding is made as `Finding.of("EMPTY_SLICES", "warn", empty=2, count=28, first=0)`; faces show
`finding.text(language)`. The numbers and names that it tells stand in its facts, so that a saved result can be read in
another language later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Severity = Literal["refuse", "warn", "info"]
Fact = str | int | float


class _Text(NamedTuple):
    what: str
    what_zh: str


_CATALOGUE = {
    # --- the images, by quality.py
    "EMPTY_SLICES": _Text(
        "{empty} of {count} slices have no contrast (first: K {first}); their class means nothing",
        "{count} 个切片中有 {empty} 个没有对比度（首个：K {first}）；其类别没有意义",
    ),
    "IRREGULAR_STACK": _Text(
        "the stack is {irregularity}; slices are classified as acquired, pictures show it resampled",
        "切片堆叠不规则（{irregularity}）；按采集的原始切片分类，图片显示重采样后的图像",
    ),
    "MODALITY_UNKNOWN": _Text(
        "the file does not say its modality; a CT would be shown to the network without its HU window",
        "文件未说明成像模态；若为 CT，输入网络时不会应用 HU 窗",
    ),
    "UNITS_UNKNOWN": _Text(
        "CT values are not in HU; no CT window is applied",
        "CT 值的单位不是 HU；未应用 CT 窗",
    ),
    # --- what reading had to decide (reading.py), told in English by {detail}
    "DUPLICATE_INSTANCE": _Text("{detail}", "已略去重复的切片（{detail}）"),
    "NO_POSITION": _Text("{detail}", "图像未说明其在患者体内的位置"),
    "PIXEL_SPACING": _Text("{detail}", "像素间距未直接给出（{detail}）"),
    "ORIENTATION_UNKNOWN": _Text("{detail}", "文件未说明患者方位，左右、前后、上下可能有误（{detail}）"),
    "CT_WITHOUT_RESCALE": _Text("{detail}", "缺少 CT 重标定标签，无法确认数值为 HU"),
    "CT_NOT_HU": _Text("{detail}", "CT 的重标定类型不是 HU（{detail}）"),
    "MONOCHROME1": _Text("{detail}", "图像以反色方式存储；CT 值保持不变，仅显示反转"),
    "MONOCHROME1_INVERTED": _Text("{detail}", "图像以反色方式存储；数值已反转一次，亮即为高"),
    "LOSSY_COMPRESSION": _Text("{detail}", "图像经过有损压缩"),
    "LOCALISER": _Text("{detail}", "图像被标记为定位像"),
    "UNREADABLE_FILES": _Text("{detail}", "有文件无法读取，其中可能有此序列的切片（{detail}）"),
    # --- the model
    "UNCALIBRATED": _Text(
        "probabilities are uncalibrated: compare, do not trust",
        "概率未经校准：可用于比较，不可直接采信",
    ),
    # --- the computer
    "EVIDENCE_NOT_AVAILABLE": _Text(
        "evidence of the network {network} needs torch, but {runtime} runs it here, so there is none; "
        "occlusion would take about {duration} (--evidence occlusion)",
        "网络 {network} 的证据图需要 torch，而此处由 {runtime} 运行，因此没有证据图；"
        "遮挡法约需 {duration}（--evidence occlusion）",
    ),
    "EVIDENCE_OCCLUSION_ONLY": _Text(
        "a head of kind {head} on {network} has no evidence of its own, so there is none; "
        "occlusion would take about {duration} (--evidence occlusion)",
        "{network} 上的 {head} 分类头没有自身的证据图，因此没有证据图；遮挡法约需 {duration}（--evidence occlusion）",
    ),
    "MEMORY_FULL": _Text(
        "the memory of {device} was full: {runtime} on the CPU went on",
        "{device} 的内存已满：{runtime} 改在 CPU 上继续运行",
    ),
    "MEMORY_SHORT": _Text(
        "memory was short: {slices} slices at a time on {device}",
        "内存不足：在 {device} 上每次处理 {slices} 个切片",
    ),
}  # fmt: skip


# code -> what to do, in English and Chinese; '' : nothing needs to be done.
_ADVICE = {
    "EMPTY_SLICES": ("Leave these slices out when you read the result.", "阅读结果时请忽略这些切片。"),
    "IRREGULAR_STACK": (
        "Compare with the slices as acquired before you measure in the pictures.",
        "在图片中测量之前，请与原始采集的切片比对。",
    ),
    "MODALITY_UNKNOWN": (
        "Load the original DICOM series, or make sure that the model suits the modality.",
        "请载入原始 DICOM 序列，或确认模型适用于该模态。",
    ),
    "UNITS_UNKNOWN": ("Load the original DICOM series with its HU values.", "请载入带有 HU 值的原始 DICOM 序列。"),
    "UNCALIBRATED": (
        "Use the probabilities to compare slices, not as a chance of being right.",
        "概率只可用于切片之间的比较，不可视为正确的可能性。",
    ),
    "DUPLICATE_INSTANCE": ("Check that the copies are the same images.", "请确认这些副本是相同的图像。"),
    "NO_POSITION": ("Do not rely on the positions in this report.", "请勿依据本报告中的位置。"),
    "PIXEL_SPACING": ("Do not measure in the pictures.", "请勿在图片中测量。"),
    "ORIENTATION_UNKNOWN": (
        "Compare left and right with the original images before you rely on a side.",
        "判断左右之前，请与原始图像比对。",
    ),
    "CT_WITHOUT_RESCALE": (
        "Export the series again with its rescale tags.",
        "请连同重标定标签一起重新导出该序列。",
    ),
    "CT_NOT_HU": ("Export the series again in HU.", "请以 HU 为单位重新导出该序列。"),
    "MONOCHROME1": ("Compare with the original images: air must be dark.", "请与原始图像比对：空气应为暗色。"),
    "MONOCHROME1_INVERTED": (
        "Compare with the original images: bone must be bright.",
        "请与原始图像比对：骨骼应为亮色。",
    ),
    "LOSSY_COMPRESSION": (
        "Classify the uncompressed series where there is one.",
        "如有未压缩的序列，请对其进行分类。",
    ),
    "LOCALISER": ("Choose the diagnostic series of the study.", "请选择该检查的诊断序列。"),
    "UNREADABLE_FILES": (
        "Copy or export the series again and see that no slice is missing.",
        "请重新复制或导出该序列，并确认没有缺失切片。",
    ),
    "EVIDENCE_NOT_AVAILABLE": (
        "Install torch, or ask for occlusion, which takes its time.",
        "请安装 torch，或改用较慢的遮挡法。",
    ),
    "EVIDENCE_OCCLUSION_ONLY": ("Ask for occlusion, which takes its time.", "请改用较慢的遮挡法。"),
    "MEMORY_FULL": ("", ""),
    "MEMORY_SHORT": ("", ""),
}  # fmt: skip
_ADVICE_BY_SEVERITY = {
    "refuse": ("Do not use this result.", "请勿使用此结果。"),
    "warn": ("Look at the images yourself before you believe the result.", "采信结果之前，请亲自查看图像。"),
    "info": ("", ""),
}


@dataclass(frozen=True)
class Finding:
    """Something to know before believing the result. severity 'refuse' means: do not show a class.

    message: in English. facts: the values that its text names; {} where a document of an earlier version has none.
    """

    code: str
    severity: Severity
    message: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @classmethod
    def of(cls, code: str, severity: Severity, **facts: Fact) -> Finding:
        """The finding of a code of the catalogue. Raises KeyError for another code or a missing fact, so that no
        half-filled sentence reaches a user."""
        return cls(code, severity, _CATALOGUE[code].what.format(**facts), facts)

    def text(self, language: str = "en") -> str:
        """One sentence. language: 'en' or 'zh'. English where a result of another version does not say enough."""
        text = _CATALOGUE.get(self.code)
        if language != "zh" or text is None:
            return self.message
        try:
            return text.what_zh.format(**self.facts)
        except KeyError:
            return self.message

    def advice(self, language: str = "en") -> str:
        """What a reader should do about it; '' where there is nothing to do. language: 'en' or 'zh'."""
        known = _ADVICE.get(self.code) if self.severity != "refuse" else None
        return (known or _ADVICE_BY_SEVERITY[self.severity])[language == "zh"]
