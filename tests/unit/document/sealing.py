"""Sealed documents as bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent import document
from agent.contract.record import FileEntry, Record


def seal(record: Record, crate: dict[str, Any], files: Iterable[FileEntry]) -> dict[str, bytes]:
    """What is written for these files, whatever their order."""
    by_path = sorted(files, key=lambda file: file.path)
    with tempfile.TemporaryDirectory() as folder:
        return {name: path.read_bytes() for name, path in document.seal(record, crate, by_path, Path(folder)).items()}
