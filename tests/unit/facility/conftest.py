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


@pytest.fixture(scope="module")
def facility_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One facility for all tests of a file that leave nothing behind."""
    with running(tmp_path_factory.mktemp("shared") / "data") as started:
        yield started.agent()
