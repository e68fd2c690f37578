"""queries.sql, by name: `-- name`, comment lines, one statement."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"-- ([a-z_]+)")


def parse(text: str) -> dict[str, str]:
    """`{name: statement}`; a block begins with a name alone on a comment line after an empty line."""
    found: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        first, _, rest = block.partition("\n")
        match = _NAME.fullmatch(first.strip())
        statement = "\n".join(line for line in rest.splitlines() if not line.startswith("--")).strip()
        if match is None or not statement or match[1] in found:
            raise ValueError(f"queries.sql: not a uniquely named statement: {first!r}")
        found[match[1]] = statement
    return found


@cache
def statements() -> dict[str, str]:
    """All named statements of this package."""
    return parse(files(__package__).joinpath("queries.sql").read_text(encoding="utf-8"))
