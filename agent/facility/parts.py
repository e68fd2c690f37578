"""What the endpoints share: made once by the app, handed to each request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from agent.facility.audit import Audit
from agent.facility.catalogue import Catalogue
from agent.facility.checking import Checker
from agent.facility.fleet import FleetView
from agent.facility.limits import Limit
from agent.facility.live import Mirror
from agent.facility.previews import Previews
from agent.facility.quarantine import Quarantine
from agent.facility.settings import Settings
from agent.facility.storage import Storage
from agent.facility.stream import Hub
from agent.facility.tokens import TokenFile


@dataclass(frozen=True)
class Parts:
    """The parts of a running facility."""

    settings: Settings
    storage: Storage
    catalogue: Catalogue
    tokens: TokenFile
    mirror: Mirror
    hub: Hub
    fleet: FleetView
    quarantine: Quarantine
    checker: Checker
    previews: Previews
    audit: Audit
    reading: Limit
    writing: Limit
    failing: Limit
    """Wrong tokens, by address."""
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Whole datasets being hashed at a time, so that uploads still find a thread."""


def parts_of(request: Request) -> Parts:
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


Shared = Annotated[Parts, Depends(parts_of)]
