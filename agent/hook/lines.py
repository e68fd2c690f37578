"""A journal's line: `{"n": number in the file, "t": UTC ns, "k": kind, "d": {...}}`."""

from __future__ import annotations

from typing import Any

import msgspec


def _plain(value: Any) -> object:
    """What msgspec cannot encode by itself: mappings and numpy scalars by value, anything else as text."""
    if hasattr(value, "keys"):
        return dict(value)
    if getattr(value, "shape", None) == ():
        return value.item()
    return str(value)


encode = msgspec.json.Encoder(enc_hook=_plain).encode


class _OfRun(msgspec.Struct):
    run: int = 0


def run_of(data: bytes) -> int:
    """The run that an entry's content names; 0 when it names none."""
    return msgspec.json.decode(data, type=_OfRun).run


def line(number: int, at_ns: int, kind: str, data: bytes) -> bytes:
    """The line of an entry whose content is encoded already."""
    return b'{"n":%d,"t":%d,"k":"%s","d":%s}\n' % (number, at_ns, kind.encode(), data)
