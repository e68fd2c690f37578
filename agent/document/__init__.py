"""What is said about an acquisition: pure functions of acquisition and snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.document.context import Context, Documents

if TYPE_CHECKING:
    from agent.acquisition import Acquisition
    from agent.contract.record import FileEntry, Record
    from agent.snapshot import Snapshot

__all__ = ["Context", "Documents", "build", "seal"]


def build(context: Context, acquisition: Acquisition, snapshot: Snapshot) -> Documents:
    """All documents of an acquisition: the same input gives the same bytes; see agent.document.assemble."""
    from agent.document import assemble  # lxml is loaded with the first acquisition, not with the daemon

    return assemble.build(context, acquisition, snapshot)


def seal(record: Record, crate: dict[str, Any], files: Iterable[FileEntry], folder: Path) -> dict[str, Path]:
    """Write the record, the RO-Crate and its page, now that all other files are known; see agent.document.assemble."""
    from agent.document import assemble

    return assemble.seal(record, crate, files, folder)
