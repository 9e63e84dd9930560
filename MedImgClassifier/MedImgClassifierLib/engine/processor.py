"""What the processor can do that a runtime needs."""

from __future__ import annotations

import platform
from pathlib import Path


def has_int8_dot_product() -> bool:
    """Whether int8 products are summed in 32 bits by one instruction (VNNI; dot product on ARM).

    Without it kernels sum pairs in 16 bits, which overflow: other answers, and no faster than float32. False where
    it cannot be found out.
    """
    # no public list of numpy's names single features
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__ as features,
    )

    if features.get("AVX512VNNI") or features.get("ASIMDDP"):
        return True
    try:  # the form without AVX-512, which numpy does not list
        return "avx_vnni" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def name() -> str:
    """The processor's name for a record of measurements."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
