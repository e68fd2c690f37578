"""One suite for every target, the fake included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.delivery.facility import FacilityTarget
from agent.delivery.port import Target
from agent.errors import Unreachable
from agent.testing.target import DATASET, SUITE, MemoryTarget, outgoing
from tests.unit.delivery.test_delivery import Facility


@pytest.fixture(params=["memory", "facility"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "memory":
        yield MemoryTarget()
        return
    server = Facility(tmp_path / "facility")
    server.start()
    made = FacilityTarget(server.settings(tmp_path))
    yield made
    made.close()
    server.end()


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_contract(target: Target, case: Callable[[Target], None]) -> None:
    case(target)


def test_the_fake_fails_when_told() -> None:
    fake = MemoryTarget()
    fake.fail_next = Unreachable("away")
    with pytest.raises(Unreachable):
        fake.check()
    fake.send(DATASET, outgoing("a", b"a"))
