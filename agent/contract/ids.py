"""Identifiers and names that are safe as folder, topic and URL parts on every system."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import uuid

from agent.errors import Misconfigured

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = frozenset(["CON", "PRN", "AUX", "NUL", *(f"COM{i}" for i in range(10)), *(f"LPT{i}" for i in range(10))])


def uuid7(unix_ns: int, entropy: bytes | None = None) -> uuid.UUID:
    """Time-ordered UUID version 7 (RFC 9562) for a time in UTC nanoseconds; `entropy` is 10 bytes."""
    random = int.from_bytes(entropy if entropy is not None else os.urandom(10), "big")
    millis = unix_ns // 1_000_000
    value = (millis & ((1 << 48) - 1)) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def derived_id(unix_ns: int, *parts: str) -> str:
    """A UUID version 7 that is the same for the same time and parts: state that was lost is rebuilt with it."""
    return str(uuid7(unix_ns, hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).digest()[:10]))


def is_slug(name: str) -> bool:
    """True for a name that can stand as one level of a path, a topic and a URL everywhere."""
    return _SLUG.fullmatch(name) is not None and name.split(".")[0].upper() not in _RESERVED and not name.endswith(".")


def check_slug(what: str, name: str) -> str:
    """Return `name`, or raise Misconfigured naming the setting `what`."""
    if not is_slug(name):
        raise Misconfigured(
            f"{what} {name!r} cannot be used in paths and topics: "
            "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
        )
    return name


def slug(name: str, fallback: str = "acquisition") -> str:
    """Fold any text into a slug of at most 40 characters; the original stays in the record."""
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = _UNSAFE.sub("-", ascii_text).strip("-._")[:40].rstrip("-._")
    return text if is_slug(text) else fallback
