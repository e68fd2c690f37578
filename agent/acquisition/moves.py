"""The moves of an acquisition as a table, and the fold of source events (pure).

acquiring -> settling -> complete -> captured -> documented -> queued -> delivering -> verified -> released
    `-> aborted -> settling                     any but verified and released -> rejected -> queued | settling
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import assert_never

from agent.acquisition.model import Acquisition, FoundBy, State
from agent.errors import Damaged
from agent.sources.events import FinishReason, RunFinished, RunProgress, RunStarted

RunEvent = RunStarted | RunProgress | RunFinished

_PATH = (
    State.ACQUIRING,
    State.SETTLING,
    State.COMPLETE,
    State.CAPTURED,
    State.DOCUMENTED,
    State.QUEUED,
    State.DELIVERING,
    State.VERIFIED,
    State.RELEASED,
)

TRANSITIONS: dict[State, frozenset[State]] = {
    **{
        here: frozenset({there} | ({State.REJECTED} if here not in (State.VERIFIED, State.RELEASED) else set()))
        for here, there in pairwise(_PATH)
    },
    State.ABORTED: frozenset({State.SETTLING}),
    State.REJECTED: frozenset({State.SETTLING, State.QUEUED}),
    State.RELEASED: frozenset(),
}
TRANSITIONS[State.ACQUIRING] |= {State.ABORTED}
# A source that changed under the delivery starts again from its files.
TRANSITIONS[State.DELIVERING] |= {State.SETTLING, State.QUEUED}
TRANSITIONS[State.QUEUED] |= {State.SETTLING}
# So does one whose files were moved or deleted before they were described.
TRANSITIONS[State.COMPLETE] |= {State.SETTLING}
TRANSITIONS[State.CAPTURED] |= {State.SETTLING}


class IllegalMove(Damaged):
    """A state was asked for that cannot follow the present one."""


def move(acquisition: Acquisition, to: State) -> Acquisition:
    """The acquisition in state `to`, or IllegalMove. To the same state is no move and is allowed."""
    if to is acquisition.state:
        return acquisition
    if to not in TRANSITIONS[acquisition.state]:
        raise IllegalMove(f"acquisition {acquisition.id} cannot go from {acquisition.state} to {to}")
    return replace(acquisition, state=to)


def begin(event: RunStarted, acquisition_id: str) -> Acquisition:
    """A new acquisition in state acquiring."""
    return Acquisition(
        id=acquisition_id,
        origin=event.origin,
        # A log tells no more than a watched folder: that something was there.
        found_by=FoundBy.HOOK if event.span else FoundBy.WATCH,
        name=event.name,
        state=State.ACQUIRING,
        started_ns=event.at_ns,
        plan=event.plan,
        outputs=event.outputs,
        software=event.software,
        marks=event.marks,
        span=event.span,
    )


def fold(acquisition: Acquisition, event: RunEvent) -> Acquisition:
    """What is known after `event`. The same event twice changes nothing; a late one never moves it back."""
    if acquisition.state is not State.ACQUIRING:
        return acquisition
    match event:
        case RunStarted():
            return acquisition
        case RunProgress():
            return replace(acquisition, frames=max(acquisition.frames, event.frames))
        case RunFinished():
            state = State.ABORTED if event.reason is FinishReason.ABORTED else State.SETTLING
            return replace(
                move(acquisition, state),
                finished_ns=event.at_ns,
                reason=event.reason,
                frames=event.frames,
                span=event.span,
                lost=event.lost,
            )
        case _:
            assert_never(event)
