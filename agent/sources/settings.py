"""The settings of a watched folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class WatchSettings(BaseModel):
    """One watched folder: which files count, and how it is listened to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    """The folder, with everything below it."""
    include: tuple[str, ...] = ("*",)
    """Patterns of file names that count; one with a `/` is compared with the path below the folder."""
    exclude: tuple[str, ...] = ()
    """More patterns of files and folders that do not count, beside those of names.py."""
    mode: Literal["auto", "events", "poll"] = "auto"
    """`auto`: events on local disks, polling on network shares, which tell of no events."""
    poll_s: float = Field(default=15.0, gt=0)
    """Seconds between two walks where the folder is polled."""
    reconcile_s: float = Field(default=300.0, gt=0)
    """Seconds between two walks that find what the events missed."""
    patience_s: float = Field(default=3600.0, ge=0)
    """Seconds to wait for a dataset that is not whole before it is delivered, flagged."""
    quiet_s: float = Field(default=10.0, ge=0)
    """Seconds without a change before a file without a sign of its end counts as finished."""


class HookSettings(BaseModel):
    """The journals that the hook writes inside acquisition processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spool: Path | None = None
    """Folder of the journals; without it the one that `scope-agent hook install` uses."""
    keep_mib: int = Field(default=512, ge=1)
    """Journals of delivered acquisitions are kept up to this size."""
    logs: tuple[Path, ...] | None = None
    """Folders of the logs that pymmcore-plus keeps: runs of processes without the hook are found there. Without
    this the one of the user who runs the agent; an empty list looks for none."""
