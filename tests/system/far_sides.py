"""Far sides of the fault rounds: our facility, SeaweedFS as an S3 store, and a share that comes and goes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
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
    disk: Path | None = None
    """Where its data are, when that may be a small disk."""
    wired = True
    """The daemon speaks to it over the network."""
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
        self.disk = self.data

    def start(self) -> None:
        token = self.folder / "token"
        if not token.exists():
            token.write_text(create_token(self.data, "lab/scope"))
        serve = [sys.executable, "-m", "agent", "facility", "serve"]
        command = [*serve, "--data", str(self.data), "--port", str(self.port)]
        self.process = spawn(command, self.folder / "facility.log")
        wait_port(self.port, self.process, 60)

    def config(self, port: int) -> str:
        return f'[delivery]\nurl = "http://127.0.0.1:{port}"\ntoken_file = "token"\nchunk_mib = 1\nstall_s = 1.5\n'

    def datasets(self) -> list[str]:
        return datasets_below(self.data / "datasets")

    def record(self, dataset: str) -> dict[str, Any]:
        return compared(self.data / "datasets" / dataset)

    def left_behind(self, removed: set[str]) -> list[str]:
        """Of what was deleted at its source before all of it had arrived, the facility clears the rest after a time."""
        uploads = sorted((self.data / ".incoming").iterdir())
        told = [f"{path.name}: {[(file.name, file.read_bytes()[:500]) for file in path.iterdir()]}" for path in uploads]
        return [one for one in told if not any(Path(name).stem in one for name in removed)]


class ShareSide(FarSide):
    """A mounted share: instead of being killed it is away for a while, its mount point gone or empty."""

    name = "folder"
    wired = False

    def __init__(self, folder: Path) -> None:
        self.disk, self.port = folder / "net", free_port()
        self.share, self.away = self.disk / "share", self.disk / "share.away"

    def start(self) -> None:
        if self.away.exists():
            if self.share.exists():
                # Raises when anything was written into the empty mount point.
                self.share.rmdir()
            self.away.rename(self.share)
        self.share.mkdir(exist_ok=True)

    def kill(self) -> None:
        if self.share.exists() and not self.away.exists():
            several = len(self.datasets()) > 2
            self.share.rename(self.away)
            if several:
                self.share.mkdir()
            time.sleep(0.7)

    def config(self, port: int) -> str:
        return f'[delivery]\ntarget = "folder"\nparallel = 4\n[delivery.folder]\npath = "{self.share}"\n'

    def datasets(self) -> list[str]:
        return datasets_below(self.share)

    def record(self, dataset: str) -> dict[str, Any]:
        return compared(self.share / dataset)

    def left_behind(self, removed: set[str]) -> list[str]:
        staging = self.share / ".scope-agent"
        left = [path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file()]
        return [one for one in left if not any(Path(name).stem in one for name in removed)]


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


def datasets_below(root: Path) -> list[str]:
    return [found.parent.relative_to(root).as_posix() for found in root.glob(f"[!.]*/*/*/*/*/*/{MANIFEST}")]


def compared(root: Path) -> dict[str, Any]:
    """What a dataset says of itself, once every byte of it was compared with its manifest."""
    for path, digest in parse((root / MANIFEST).read_bytes()).items():
        assert hashlib.sha256((root / path).read_bytes()).hexdigest() == digest, root / path
    return json.loads((root / RECORD).read_text())


FAR_SIDES = {"facility": FacilitySide, "folder": ShareSide, "s3": StoreSide}
