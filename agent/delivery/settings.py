"""Settings of the delivery."""

from __future__ import annotations

from pathlib import Path

from pydantic import AnyHttpUrl, Field

from agent.contract.settings import Settings


class DeliverySettings(Settings):
    """Where datasets go, and how hard to try."""

    url: AnyHttpUrl
    """Address of the facility."""
    token_file: Path | None = None
    """File that holds the access token."""
    token_env: str = "SCOPE_AGENT_TOKEN"  # noqa: S105 -- the name of a variable, no secret
    """Environment variable that holds the token where no file is named."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust beside the system's."""
    chunk_mib: int = Field(default=8, ge=1, le=16)
    """Size of a chunk; each carries its own checksum."""
    stall_s: float = Field(default=30, gt=0)
    """Give up on a peer that sends and takes nothing for so long."""
    retry_first_s: float = Field(default=1, gt=0)
    """First pause after a failure; doubles up to `retry_most_s`."""
    retry_most_s: float = Field(default=300, gt=0)
    """Longest pause between two tries."""
