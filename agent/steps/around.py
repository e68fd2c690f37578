"""What sensors, sessions and humans said around an acquisition, and how that becomes part of its record."""

from __future__ import annotations

from dataclasses import replace

from agent.acquisition import Acquisition
from agent.contract.record import Captured
from agent.snapshot import Snapshot
from agent.sources.context import CORRECTED, ROLES, SENSORS, ContextLog


def surrounded(snapshot: Snapshot, around: ContextLog, acquisition: Acquisition) -> Snapshot:
    """With what room sensors and the session said, where neither the run nor its files say anything.

    What a human corrected goes before all.
    """
    room = {name: reading.captured for name, reading in around.environment(acquisition.started_ns).items()}
    said = around.session(acquisition.started_ns)
    session = snapshot.session
    if said is not None:
        missing = {role: getattr(said, role) for role in ROLES if getattr(session, role) is None}
        confidence = session.confidence if session.confidence is not None else said.confidence
        session = session.model_copy(update=missing | {"confidence": confidence})
    corrected = around.corrections(acquisition.id, acquisition.started_ns)
    people = {role: corrected[role] for role in ROLES if role in corrected}
    if people:
        session = session.model_copy(update=people | {"confidence": CORRECTED})
    found: dict[str, Captured | None] = {**room, **snapshot.environment}
    found |= {name: corrected[name] for name in SENSORS if name in corrected}
    environment = {name: value for name, value in found.items() if value is not None}
    return replace(snapshot, environment=environment, session=session)
