"""How a face and the worker process talk: JSON lines over pipes.

A line is one message, UTF-8, at most 1 MiB: {"protocol": 1, "id": 3, "kind": "cancel"} and the fields of its kind.
What is larger, cases and results, travels as files (parcels.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

VERSION = 1
LONGEST_LINE = 1 << 20

Message = dict[str, Any]

# kind -> the fields that it has beside protocol, id and kind
FROM_FACE: Mapping[str, Mapping[str, type]] = {
    "run": {"verb": str, "arguments": dict},
    "cancel": {},
    "released": {"file": dict},
}
FROM_WORKER: Mapping[str, Mapping[str, type]] = {
    "hello": {"version": str, "verbs": list, "pid": int},
    "alive": {},  # once a second while it works
    "progress": {"stage": str, "fraction": float},
    "result": {"file": dict},
    "refused": {"code": str, "facts": dict},
    "failed": {"reason": str},
}


class ProtocolError(Exception):
    """What came is not a message of this protocol; the text says why."""


def encode(kind: str, id: int = 0, **fields: Any) -> bytes:
    """One line. Raises ProtocolError where it would be too long."""
    message = {"protocol": VERSION, "id": id, "kind": kind, **fields}
    line = json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > LONGEST_LINE:
        raise ProtocolError(f"a message of {len(line)} bytes, {LONGEST_LINE} are allowed")
    return line


def decode(line: bytes, kinds: Mapping[str, Mapping[str, type]]) -> Message:
    """The message of a line. kinds: FROM_FACE or FROM_WORKER. Raises ProtocolError."""
    try:
        message = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as broken:
        raise ProtocolError(f"not JSON: {str(broken)[:80]}") from None
    if not isinstance(message, dict) or message.get("protocol") != VERSION:
        raise ProtocolError(f"not a message of protocol {VERSION}")
    kind = message.get("kind")
    fields = kinds.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ProtocolError(f"unknown kind {str(kind)[:40]!r}")
    wanted = {"protocol": int, "id": int, "kind": str, **fields}
    if message.keys() != wanted.keys() or not all(_is(message[name], of) for name, of in wanted.items()):
        raise ProtocolError(f"'{kind}' with other fields than {sorted(wanted)}")
    return message


def _is(value: object, of: type) -> bool:
    if of is float:
        return type(value) in (int, float)
    return type(value) is of


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines until the end of the stream. Raises ProtocolError for one that is too long or cut off."""
    while line := stream.readline(LONGEST_LINE + 1):
        if not line.endswith(b"\n"):
            raise ProtocolError("a line that is too long or not finished")
        yield line
