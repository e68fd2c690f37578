"""One suite for every target, the fake included, each against a real far side."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.delivery.facility import FacilityTarget
from agent.delivery.folder import FolderTarget
from agent.delivery.port import Target
from agent.errors import Unreachable
from agent.testing.target import DATASET, SUITE, MemoryTarget, outgoing
from tests import servers
from tests.unit.delivery.test_delivery import Facility

KINDS = ["memory", "facility", "folder", "seaweedfs", "rclone s3", "rclone sftp", "rclone webdav"]


@contextmanager
def far_side(kind: str, folder: Path) -> Iterator[Callable[[], Target]]:
    """A server (or folder) of this kind, and what opens a target on it."""
    folder.mkdir(parents=True, exist_ok=True)
    match kind:
        case "memory":
            yield MemoryTarget
        case "folder":
            yield lambda: FolderTarget(servers.folder_settings(folder))
        case "facility":
            server = Facility(folder / "facility")
            server.start()
            yield lambda: FacilityTarget(server.settings(folder))
            server.end()
        case "seaweedfs" | "rclone s3":
            servers.obstore_or_skip()
            from agent.delivery.s3 import S3Target

            with servers.seaweedfs(folder) if kind == "seaweedfs" else servers.rclone_s3(folder) as port:
                settings = servers.s3_settings(folder, port, part_mib=5)
                yield lambda: S3Target(settings, 20, "owner")
        case _:
            from agent.delivery.rclone import RcloneTarget

            with servers.rclone_remote(folder, kind.split()[1]) as remote:
                yield lambda: RcloneTarget(remote, 20)


@pytest.fixture(scope="module", params=KINDS)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Target]]:
    with far_side(request.param, tmp_path_factory.mktemp("far")) as made:
        yield made


@pytest.fixture
def target(opener: Callable[[], Target]) -> Iterator[Target]:
    made = opener()
    yield made
    made.close()


@pytest.fixture
def dataset() -> str:
    """A new one for each test: the far side is shared."""
    return DATASET.replace("0badcafe", f"{random.randrange(1 << 32):08x}")


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_contract(target: Target, dataset: str, case: Callable[[Target, str], None]) -> None:
    case(target, dataset)


def test_a_file_in_several_parts(target: Target, dataset: str) -> None:
    body = os.urandom(11 << 20)
    digest = hashlib.sha256(body).hexdigest()
    assert target.send(dataset, outgoing("data/big.bin", body, 1 << 20)) == digest


def test_the_fake_fails_when_told() -> None:
    fake = MemoryTarget()
    fake.fail_next = Unreachable("away")
    with pytest.raises(Unreachable):
        fake.check()
    fake.send(DATASET, outgoing("a", b"a"))
