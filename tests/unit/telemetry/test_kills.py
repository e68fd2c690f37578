"""Broker and agent killed while events flow: with replay every number is there. Long form: benchmarks/events.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.events import kills


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_no_event_is_lost_through_kills_of_broker_and_agent(kind: str, capsys: pytest.CaptureFixture) -> None:
    if kind == "mosquitto" and not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()):
        pytest.skip("mosquitto is not installed")
    _without, missing, _duplicates = kills(kind, 600, broker_kills=2, agent_kills=2, seconds=6)
    assert missing == 0
    assert "missing without replay" in capsys.readouterr().out
