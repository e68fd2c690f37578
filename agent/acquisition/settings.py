"""Settings of when an acquisition counts as whole."""

from __future__ import annotations

from pydantic import Field

from agent.contract.settings import Settings


class SettleSettings(Settings):
    """How long files must rest, and how long to wait for what is missing."""

    quiet_s: float = Field(default=5, ge=0)
    """Files that show no sign of their end count as whole when nothing changed for so long."""
    patience_s: float = Field(default=600, ge=0)
    """A dataset that never becomes whole is delivered after so long, flagged, with what is missing."""
