"""A SeaweedFS cluster of three volume servers, each object on two of them; one is killed while files are sent."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.manifest import render
from agent.errors import Retryable
from agent.testing.target import DATASET, outgoing
from tests import servers
from tests.conftest import wait_port

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(400)]


class Cluster:
    """One master, three volume servers on racks of their own, filer and S3."""

    def __init__(self, folder: Path) -> None:
        servers.obstore_or_skip()
        self.folder = folder
        self._weed = servers.program("weed")
        self._master, self._filer, self.port, *self._volumes = servers.free_ports(6)
        self.processes: dict[str, subprocess.Popen] = {}
        identity = {
            "name": "a",
            "credentials": [{"accessKey": servers.KEY, "secretKey": servers.SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        master = f"127.0.0.1:{self._master}"
        self._spawn(
            "master", self._master, *here, f"-port={self._master}", f"-mdir={self._at('m')}",
            "-defaultReplication=010", "-volumeSizeLimitMB=256", "-telemetry=false",
        )  # fmt: skip
        for rack, port in enumerate(self._volumes):
            self._spawn(
                "volume", port, *here, f"-port={port}", f"-dir={self._at(f'v{rack}')}", "-max=20",
                f"-master={master}", f"-rack=r{rack}", "-dataCenter=dc1",
            )  # fmt: skip
        self._spawn(
            "filer", self.port, *here, f"-port={self._filer}", f"-master={master}", "-defaultReplicaPlacement=010",
            f"-defaultStoreDir={self._at('f')}", "-s3", f"-s3.port={self.port}",
            f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        )  # fmt: skip
        servers.make_bucket(self.folder, self.port)

    def _at(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name

    def _spawn(self, kind: str, port: int, *arguments: str) -> None:
        environment = {**os.environ, "GOMEMLIMIT": "300MiB", "HOME": str(self.folder)}
        with (self.folder / f"{kind}-{port}.log").open("wb") as log:
            process = subprocess.Popen(
                [self._weed, kind, *arguments], cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes[f"{kind}-{port}"] = process
        wait_port(port, process, 60)

    def kill_a_volume_server(self) -> None:
        process = self.processes[f"volume-{random.choice(self._volumes)}"]
        process.kill()
        process.wait()

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.end()


def test_a_volume_server_that_dies_under_an_upload_loses_nothing(cluster: Cluster) -> None:
    from agent.delivery.s3 import S3Target

    target = S3Target(servers.s3_settings(cluster.folder, cluster.port, part_mib=5), 20, "a")
    files = {f"data/{number:02}": os.urandom(300_000) for number in range(20)} | {"data/big": os.urandom(18 << 20)}
    for number, (path, body) in enumerate(files.items()):
        if number == 10:
            cluster.kill_a_volume_server()
        sent(target, path, body)
    hashes = {path: hashlib.sha256(body).hexdigest() for path, body in files.items()}
    committed = target.commit(DATASET, render(hashes))
    assert not committed.missing
    assert not committed.different
    # Every byte read again, with the server still dead.
    assert dict(target.held(DATASET).files) == hashes
    target.close()


def sent(target, path: str, body: bytes) -> None:
    """As the daemon does: whatever may succeed later is tried again."""
    deadline = time.monotonic() + 200
    places: list[str] = []
    while True:
        file = outgoing(path, body, 1 << 20)
        file.upload, file.on_upload = places[-1] if places else None, places.append
        try:
            assert target.send(DATASET, file) == hashlib.sha256(body).hexdigest()
        except Retryable:
            assert time.monotonic() < deadline
            time.sleep(1)
        else:
            return
