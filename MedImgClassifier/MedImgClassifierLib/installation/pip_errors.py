"""What pip says when it fails, as a Refusal that says what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..engine.errors import Refusal

# In the order in which they are looked for. An index that could not be reached ends in "No matching distribution"
# too, with "(from versions: none)", so that comes last; one that was reached and has nothing fitting comes first.
_CAUSES = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"No space left on device|WinError 112|Errno 28\b|Disk quota exceeded", "RESOURCE_INSTALL_DISK_FULL"),
        (r"WinError 206|File name too long|Windows Long Path support", "RESOURCE_INSTALL_LONG_PATH"),
        (r"Permission denied|WinError 5\b|Access is denied|Read-only file system", "RESOURCE_INSTALL_PERMISSION"),
        (r"ResolutionImpossible|conflicting dependencies", "RESOURCE_INSTALL_CONFLICT"),
        (r"from versions: (?!none)", "RESOURCE_INSTALL_NO_WHEEL"),
        (r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError", "RESOURCE_INSTALL_CERTIFICATE"),
        (r"ProxyError|Cannot connect to proxy|Tunnel connection failed|\b407\b", "RESOURCE_INSTALL_PROXY"),
        (
            r"Read timed out|ConnectTimeout|NewConnectionError|Max retries exceeded|Connection (refused|reset|aborted)|"
            r"name resolution|getaddrinfo failed|Network is unreachable|ReadTimeoutError|No route to host",
            "RESOURCE_INSTALL_NETWORK",
        ),
        (r"No matching distribution|Could not find a version", "RESOURCE_INSTALL_NO_WHEEL"),
    )
)
_SECRET = re.compile(r"(?<=//)[^/\s@']+@")  # user and password of a proxy or index


def explain(lines: Sequence[str], status: int, from_kit: bool = False) -> Refusal:
    """The Refusal for pip's output and exit status.

    from_kit: no network was asked, so a library that is not found is one that the kit lacks.
    """
    for pattern, code in _CAUSES:
        for line in lines:
            if pattern.search(line):
                missing_in_kit = from_kit and code == "RESOURCE_INSTALL_NO_WHEEL"
                return Refusal("INPUT_KIT_LACKS" if missing_in_kit else code, reason=_short(line))
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    last = next((line for line in reversed(errors or lines) if line.strip()), "")
    return Refusal("RESOURCE_INSTALL_FAILED", reason=_short(last) or f"exit status {status}")


def _short(line: str) -> str:
    return _SECRET.sub("***@", line.strip())[:240]
