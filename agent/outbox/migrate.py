"""Numbered migrations: `migrations/NNNN_name.sql`, each applied once, in order, in one transaction."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from agent.errors import Misconfigured


def migrations() -> list[tuple[int, str]]:
    """(version, SQL) in order."""
    folder = files(__package__).joinpath("migrations")
    scripts = sorted((item.name, item) for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(int(name.split("_")[0]), item.read_text(encoding="utf-8")) for name, item in scripts]


def version(connection: sqlite3.Connection) -> int:
    """The schema version of the database; 0 when it is new."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date. Misconfigured when a newer scope-agent wrote it."""
    known = migrations()
    present = version(connection)
    if present > known[-1][0]:
        raise Misconfigured(
            f"the outbox was written by a newer scope-agent (schema {present}, this one knows {known[-1][0]}): "
            "install that version again"
        )
    for number, script in known:
        if number > present:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
