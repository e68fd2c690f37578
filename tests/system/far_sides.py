"""Far sides of the fault rounds, each a process of its own: our facility, and SeaweedFS as an S3 store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.contract.layout import MANIFEST, RECORD
from agent.contract.manifest import parse
from agent.facility.serve import create_token
from tests import servers
from tests.conftest import ROOT, free_port, wait_port


def spawn(command: list[str], log: Path, **more: Any) -> subprocess.Popen:
    with log.open("ab") as out:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, **more)


class FarSide:
    """A process that can be killed and frozen, and what it holds."""

    port: int
    process: subprocess.Popen | None = None

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class FacilitySide(FarSide):
    """The project's own server, its data on `data` (which may be a small disk)."""

    name = "facility"

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.port = folder, folder / "facility", free_port()
        (folder / "token").write_text(create_token(self.data, "lab/scope"))

    def start(self) -> None:
        serve = [sys.executable, "-m", "agent", "facility", "serve"]
        command = [*serve, "--data", str(self.data), "--port", str(self.port)]
        self.process = spawn(command, self.folder / "facility.log")
        wait_port(self.port, self.process, 60)

    def config(self, port: int) -> str:
        return f'[delivery]\nurl = "http://127.0.0.1:{port}"\ntoken_file = "token"\nchunk_mib = 1\nstall_s = 1.5\n'

    def datasets(self) -> list[str]:
        root = self.data / "datasets"
        return [found.parent.relative_to(root).as_posix() for found in root.glob(f"*/*/*/*/*/*/{MANIFEST}")]

    def record(self, dataset: str) -> dict[str, Any]:
        """What the dataset says of itself, once every byte of it was compared with its manifest."""
        root = self.data / "datasets" / dataset
        for path, digest in parse((root / MANIFEST).read_bytes()).items():
            assert hashlib.sha256((root / path).read_bytes()).hexdigest() == digest, f"{dataset}/{path}"
        return json.loads((root / RECORD).read_text())

    def left_behind(self, removed: set[str]) -> list[str]:
        """Of what was deleted at its source before all of it had arrived, the facility clears the rest after a time."""
        uploads = sorted((self.data / ".incoming").iterdir())
        told = [f"{path.name}: {[(file.name, file.read_bytes()[:500]) for file in path.iterdir()]}" for path in uploads]
        return [one for one in told if not any(Path(name).stem in one for name in removed)]


class StoreSide(FarSide):
    """SeaweedFS on one node."""

    name = "s3"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "weed"
        self.folder.mkdir()
        self._ports = servers.free_ports(6)
        self.port = self._ports[3]

    def start(self) -> None:
        command = servers.weed_command(self.folder, self._ports)
        environment = {**os.environ, "GOMEMLIMIT": "500MiB", "HOME": str(self.folder)}
        self.process = spawn(command, self.folder / "log", env=environment)
        wait_port(self.port, self.process, 60)
        servers.make_bucket(self.folder, self.port)

    def config(self, port: int) -> str:
        return (
            f'[delivery]\ntarget = "s3"\nstall_s = 3\n[delivery.s3]\nendpoint = "http://127.0.0.1:{port}"\n'
            f'bucket = "{servers.BUCKET}"\ncredentials_file = "weed/s3-credentials"\npart_mib = 5\n'
        )

    @cached_property
    def _target(self) -> Any:
        from agent.delivery.s3 import S3Target

        return S3Target(servers.s3_settings(self.folder, self.port, part_mib=5), 20, "harness")

    def datasets(self) -> list[str]:
        import obstore

        pages = obstore.list(self._target._store, prefix="lab")
        paths = [item["path"] for page in pages for item in page]
        return [path.removesuffix(f"/{MANIFEST}") for path in paths if path.endswith(f"/{MANIFEST}")]

    def record(self, dataset: str) -> dict[str, Any]:
        held = self._target.held(dataset)
        assert not held.missing, (dataset, held.missing)
        assert not held.different, (dataset, held.different)
        return json.loads(self._target.record(dataset))

    def left_behind(self, removed: set[str]) -> list[str]:
        body = self._target._client.ask("GET", "", {"uploads": ""}).body.decode()
        return re.findall("<Key>(.*?)</Key>", body)


FAR_SIDES = {"facility": FacilitySide, "s3": StoreSide}
