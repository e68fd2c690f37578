"""Settings of how files are read."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from agent.contract.settings import Settings


class FormatSettings(Settings):
    """Bio-Formats tells of files that the agent cannot read itself; without it they are delivered all the same."""

    bioformats: Path | None = None
    """Its package (bioformats_package.jar), which the facility installs; without it nothing of the kind runs."""
    java: str = "java"
    """The command of Java 11 or newer."""
    bioformats_s: float = Field(default=60, gt=0)
    """Seconds that it may take for a file."""
    bioformats_mib: int = Field(default=512, ge=64)
    """The memory that it may take for its data."""
