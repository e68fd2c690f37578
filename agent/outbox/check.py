"""The invariants of the outbox: what must hold at every moment, whatever was killed when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from agent.outbox.queries import parse
from agent.outbox.session import UNREADABLE


def problems(connection: sqlite3.Connection, *, thorough: bool = True) -> list[str]:
    """One line for each broken invariant; empty when all hold. `thorough` reads every page of the database."""
    return list(_found(connection, thorough))


def _found(connection: sqlite3.Connection, thorough: bool) -> Iterator[str]:
    try:
        pragma = "integrity_check" if thorough else "quick_check"
        for (said,) in connection.execute(f"PRAGMA {pragma}(20)"):
            if said != "ok":
                yield f"the database is damaged: {said}"
        for row in connection.execute("PRAGMA foreign_key_check"):
            yield f"a row of {row[0]} belongs to no {row[2]}"
        for name, query in invariants().items():
            for (what,) in connection.execute(query):
                yield f"{name.replace('_', ' ')}: {what}"
    except UNREADABLE as error:
        yield f"the database is damaged: {error}"


def invariants() -> dict[str, str]:
    """invariants.sql, by name: each selects what breaks it, at most 20 of them."""
    return parse(files(__package__).joinpath("invariants.sql").read_text(encoding="utf-8"))
