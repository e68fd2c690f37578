"""manifest-sha256.txt: one `<sha256>  <path>` line a file, sorted, as `sha256sum -c` reads it.

Names with control characters or backslashes cannot occur (layout.check_member).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from agent.contract.layout import check_member
from agent.errors import Damaged

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def render(hashes: Mapping[str, str]) -> bytes:
    """Bytes of the manifest for `{path: sha256 hex}`; same input, same bytes."""
    return listed((path, hashes[path]) for path in sorted(hashes))


def listed(files: Iterable[tuple[str, str]]) -> bytes:
    """The same for pairs of path and hash that are sorted already, of which only one is held at a time."""
    lines = bytearray()
    for path, digest in files:
        lines += f"{digest}  {check_member(path)}\n".encode()
    return bytes(lines)


def parse(text: bytes) -> dict[str, str]:
    """`{path: sha256 hex}` of a manifest, or raise Damaged naming the line."""
    found: dict[str, str] = {}
    for number, (path, digest) in enumerate(pairs(text), 1):
        if path in found:
            raise _not_a_line(number)
        found[check_member(path)] = digest
    return found


def pairs(text: bytes) -> Iterator[tuple[str, str]]:
    """Path and hash of each line of a manifest, one after the other."""
    # Not by splitlines(): a name may hold U+2028, which ends a line for Python and for nobody else.
    for number, line in enumerate(_lines(text), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise _not_a_line(number)
        yield match[2], match[1]


def _not_a_line(number: int) -> Damaged:
    return Damaged(f"manifest line {number} is not '<sha256>  <path>': deliver the dataset again")


def _lines(text: bytes) -> Iterator[str]:
    """One after the other: of a hundred thousand files they are held often enough."""
    at = 0
    while at < len(text):
        end = text.find(b"\n", at)
        end = len(text) if end < 0 else end
        try:
            yield text[at:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise Damaged("the manifest is not UTF-8 text: deliver the dataset again") from error
        at = end + 1
