"""Access tokens: shown once, stored hashed, one line each.

`site/instrument` may write below its own prefix and read what it wrote; a name without `/` is a reader,
who may read everything and write nothing. Removing a line revokes the token at once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock, SystemClock, iso
from agent.contract.ids import check_slug
from agent.errors import Misconfigured
from agent.facility.durable import write_atomic
from agent.facility.naming import owner_of

_MARK = "scope_"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: `site/instrument`, or a reader's name."""

    name: str

    @property
    def reads_all(self) -> bool:
        return "/" not in self.name

    def may_write(self, dataset: str) -> bool:
        return owner_of(dataset) == self.name

    def may_read(self, dataset: str) -> bool:
        return self.reads_all or self.may_write(dataset)


class TokenFile:
    """The tokens of a facility; edits by hand or by another process count at the next request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._names: dict[str, str] = {}

    def identify(self, token: str) -> Identity | None:
        """Whose token this is, or None."""
        name = self._read().get(_hash(token))
        return Identity(name) if name is not None else None

    def _read(self) -> dict[str, str]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._stamp:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            fields = (line.split() for line in lines if not line.startswith("#"))
            self._names = {words[0]: words[1] for words in fields if len(words) >= 2}
            self._stamp = stamp
        return self._names


def create(path: Path, name: str, clock: Clock | None = None) -> str:
    """Add a token for `site/instrument` (or a reader) and return it; it cannot be shown again. Misconfigured."""
    _check_name(name)
    _refuse_twin(path, name)
    token = _MARK + secrets.token_urlsafe(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = f"{_hash(token)}  {name}  {iso((clock or SystemClock()).now_ns())}\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    # One appending write: two commands at the same time both count.
    with os.fdopen(handle, "ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    return token


def names(path: Path) -> list[tuple[str, str]]:
    """Name and time of creation of every token, in the order in which they were made."""
    if not path.exists():
        return []
    fields = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [(words[1], words[2] if len(words) > 2 else "") for words in fields if len(words) > 1]


def revoke(path: Path, name: str) -> int:
    """Remove all tokens of a name; how many there were."""
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.split()[1:2] != [name]]
    write_atomic(path, "".join(kept).encode())
    return len(lines) - len(kept)


def _check_name(name: str) -> None:
    levels = name.split("/")
    if len(levels) > 2:
        raise Misconfigured(f"token name {name!r} has too many levels: use site/instrument, or one name for a reader")
    for what, level in zip(("site", "instrument") if len(levels) == 2 else ("reader",), levels, strict=True):
        check_slug(what, level)


def _refuse_twin(path: Path, name: str) -> None:
    """`Scope1` and `scope1` would share a folder on Windows and macOS."""
    if not path.exists():
        return
    known = {words[1] for line in path.read_text(encoding="utf-8").splitlines() if len(words := line.split()) > 1}
    twin = next((other for other in known if other != name and other.lower() == name.lower()), None)
    if twin is not None:
        raise Misconfigured(f"{name!r} differs from {twin!r} in letter case only: use {twin!r} or another name")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
