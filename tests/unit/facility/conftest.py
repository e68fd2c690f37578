"""The fixtures of the facility's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .rig import Agent, Running, running


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "data") as started:
        yield started


@pytest.fixture
def agent(facility: Running) -> Agent:
    return facility.agent()
