"""The state machine: what the table allows, and that the fold is idempotent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acquisition import TRANSITIONS, Acquisition, IllegalMove, State, fold, move
from agent.acquisition.moves import begin
from agent.sources.events import FinishReason, Plan, RunFinished, RunProgress, RunStarted, Span

STARTED = RunStarted("hook:j:1", 5, "cells", Plan(10), ("/x.ome.tiff",), {}, Span("/j", 0))


def finished(reason: FinishReason = FinishReason.COMPLETED, frames: int = 10) -> RunFinished:
    return RunFinished("hook:j:1", 9, reason, frames, Span("/j", 0, 100))


def run() -> Acquisition:
    return begin(STARTED, "id")


def test_every_state_is_in_the_table_and_leads_on_but_the_last() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {state for state, moves in TRANSITIONS.items() if not moves} == {State.RELEASED}


@pytest.mark.parametrize("state", list(State))
def test_only_the_moves_of_the_table_are_possible(state: State) -> None:
    for to in State:
        here = replace(run(), state=state)
        if to is state or to in TRANSITIONS[state]:
            assert move(here, to).state is to
        else:
            with pytest.raises(IllegalMove):
                move(here, to)


def test_nothing_verified_can_be_rejected_or_go_back() -> None:
    assert TRANSITIONS[State.VERIFIED] == {State.RELEASED}


def test_a_run_completes_aborts_and_keeps_its_counts() -> None:
    done = fold(fold(run(), RunProgress("hook:j:1", 6, 4)), finished())
    assert (done.state, done.frames, done.reason) == (State.SETTLING, 10, FinishReason.COMPLETED)
    dead = fold(run(), finished(FinishReason.ABORTED, 4))
    assert (dead.state, dead.frames, dead.plan.frames) == (State.ABORTED, 4, 10)


EVENTS = st.lists(
    st.one_of(
        st.just(STARTED),
        st.integers(0, 20).map(lambda n: RunProgress("hook:j:1", 6, n)),
        st.sampled_from(list(FinishReason)).map(finished),
    ),
    max_size=12,
)


@given(EVENTS, st.data())
def test_an_event_told_twice_changes_nothing(events: list, data: st.DataObject) -> None:
    """At least once: each event may come again right after itself."""
    once, twice = run(), run()
    for event in events:
        once = fold(once, event)
        twice = fold(fold(twice, event), event)
    assert once == twice
