"""What must not be lost, in SQLite. The only user of sqlite3."""

from agent.outbox.rows import (
    Announcement,
    Entry,
    EventRow,
    FileRow,
    FileState,
    NewFile,
    Release,
    Role,
    Sent,
    SourceChange,
    SourceFate,
)
from agent.outbox.store import Outbox

__all__ = [
    "Announcement",
    "Entry",
    "EventRow",
    "FileRow",
    "FileState",
    "NewFile",
    "Outbox",
    "Release",
    "Role",
    "Sent",
    "SourceChange",
    "SourceFate",
]
