"""manifest-sha256.txt: one `<sha256>  <path>` line a file, sorted, as `sha256sum -c` reads it.

Names with control characters or backslashes cannot occur (layout.check_member).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.contract.layout import check_member
from agent.errors import Damaged

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def render(hashes: Mapping[str, str]) -> bytes:
    """Bytes of the manifest for `{path: sha256 hex}`; same input, same bytes."""
    return "".join(f"{hashes[path]}  {check_member(path)}\n" for path in sorted(hashes)).encode()


def parse(text: bytes) -> dict[str, str]:
    """`{path: sha256 hex}` of a manifest, or raise Damaged naming the line."""
    found: dict[str, str] = {}
    try:
        # Not splitlines(): a name may hold U+2028, which ends a line for Python and for nobody else.
        lines = text.decode("utf-8").removesuffix("\n").split("\n") if text else []
    except UnicodeDecodeError as error:
        raise Damaged("the manifest is not UTF-8 text: deliver the dataset again") from error
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise Damaged(f"manifest line {number} is not '<sha256>  <path>': deliver the dataset again")
        found[check_member(match[2])] = match[1]
    return found
