"""Target `rclone`: whatever rclone reaches, driven through its remote-control API by a child process of ours.

rclone's own hash of a file where the storage knows SHA-256, else the file is read back through rclone and hashed.
Files go straight to their place, the manifest last: its presence means that all are there.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import re
import secrets
import subprocess
import threading
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from agent.contract.layout import MANIFEST, RECORD, check_dataset_path, check_member
from agent.contract.manifest import parse
from agent.delivery.port import Held, Outgoing
from agent.delivery.settings import RcloneSettings
from agent.delivery.wire import Body, Wire
from agent.errors import Misconfigured, Mismatch, NoSpace, Rejected, Retryable, Unreachable

log = logging.getLogger(__name__)

_SERVING = re.compile(r"remote control on (http://\S+)")
_START_S = 20.0
_HASH_S = 3600.0


class RcloneTarget:
    """See Target. rclone is started with the first request and ended by `close`."""

    name = "rclone"
    at_once = 1 << 20

    def __init__(self, settings: RcloneSettings, stall_s: float) -> None:
        self._settings = settings
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._login = ""
        self._sha256: bool | None = None
        self._known: dict[tuple[str, str], tuple[int, str, str]] = {}

    def check(self) -> None:
        self._call("operations/list", {"fs": self._settings.remote, "remote": "", "opt": {"noModTime": True}})

    def doubts(self) -> list[str]:
        said = ["what rclone can write it can also delete: use credentials that cannot, where the storage has such"]
        if not self._knows_sha256():
            said.append("the storage knows no SHA-256: every file is read back and hashed")
        return said

    def send(self, dataset: str, file: Outgoing) -> str:
        check_dataset_path(dataset), check_member(file.target)
        if self._read(dataset, MANIFEST) is not None:
            digest = self._hash(dataset, file.target)
            if digest is None:
                raise Mismatch(f"{dataset} exists without {file.target}: it is another acquisition's")
            return digest
        self._upload(dataset, file)
        held = self._hash(dataset, file.target)
        if held is None:
            raise Retryable(f"{file.target} is not there after it was sent: sending it again")
        self._remember(dataset, file.target, held)
        return held

    def commit(self, dataset: str, manifest: bytes) -> Held:
        listed = parse(manifest)
        if self._read(dataset, MANIFEST) == manifest:
            return Held(listed)
        held = self._compared(dataset, listed)
        if not held.missing and not held.different and self._read(dataset, MANIFEST) is None:
            self._upload(dataset, Outgoing(MANIFEST, len(manifest), lambda _: iter([manifest])))
            if self._read(dataset, MANIFEST) != manifest:
                raise Retryable(f"the manifest of {dataset} did not arrive as it was sent: sending it again")
        return held

    def held(self, dataset: str) -> Held:
        manifest = self._read(dataset, MANIFEST)
        if manifest is None:
            raise Rejected(f"{self._settings.remote} has no dataset {dataset}")
        self._known.clear()
        return self._compared(dataset, parse(manifest))

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        return self._read(dataset, name) if self._read(dataset, MANIFEST) is not None else None

    def abandon(self, upload: str) -> None:
        """Uploads are not resumed and have no place of their own."""

    def close(self) -> None:
        with self._lock:
            if self._wire is not None:
                self._wire.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._process = self._wire = None

    def _compared(self, dataset: str, listed: dict[str, str]) -> Held:
        found = {}
        for path in listed:
            digest = self._recalled(dataset, path) or self._hash(dataset, path)
            if digest is not None:
                found[path] = digest
        missing = tuple(sorted(listed.keys() - found.keys()))
        return Held(found, missing, tuple(sorted(path for path in found if found[path] != listed[path])))

    def _remember(self, dataset: str, path: str, digest: str) -> None:
        told = self._stat(dataset, path)
        if told is not None:
            self._known[dataset, path] = (told["Size"], told.get("ModTime", ""), digest)

    def _recalled(self, dataset: str, path: str) -> str | None:
        size, changed, digest = self._known.get((dataset, path), (-1, "", None))
        told = self._stat(dataset, path) if digest else None
        return digest if told and (told["Size"], told.get("ModTime", "")) == (size, changed) else None

    # rclone

    def _upload(self, dataset: str, file: Outgoing) -> None:
        folder, _, name = f"{dataset}/{file.target}".rpartition("/")
        mark = secrets.token_hex(16)
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'.encode()
        tail = f"\r\n--{mark}--\r\n".encode()
        body = Body(chain((head,), file.blocks(0), (tail,)), len(head) + file.size + len(tail), once=True)
        query = urlencode({"fs": self._settings.remote, "remote": folder})
        self._ask(f"operations/uploadfile?{query}", body, f"multipart/form-data; boundary={mark}", _HASH_S)

    def _hash(self, dataset: str, path: str) -> str | None:
        """By the storage itself where it can, else read back through rclone."""
        if self._stat(dataset, path) is None:
            return None
        said = self._call(
            "operations/hashsumfile",
            {
                "fs": f"{self._settings.remote.rstrip('/')}/{dataset}",
                "remote": path,
                "hashType": "sha256",
                "download": not self._knows_sha256(),
            },
            _HASH_S,
        )
        return str(said["hash"])

    def _stat(self, dataset: str, path: str) -> dict[str, Any] | None:
        said = self._call("operations/stat", {"fs": self._settings.remote, "remote": f"{dataset}/{path}"})
        found: dict[str, Any] | None = said.get("item")
        return found

    def _read(self, dataset: str, path: str) -> bytes | None:
        """A small file as it is there now."""
        if self._stat(dataset, path) is None:
            return None
        command = [self._settings.executable, "--config", str(self._settings.config_file), "cat"]
        place = f"{self._settings.remote.rstrip('/')}/{dataset}/{path}"
        try:
            done = subprocess.run([*command, place], capture_output=True, timeout=_HASH_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"rclone could not read {place}: {error}") from error
        if done.returncode:
            raise Unreachable(f"rclone could not read {place}: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")
        return done.stdout

    def _knows_sha256(self) -> bool:
        if self._sha256 is None:
            said = self._call("operations/fsinfo", {"fs": self._settings.remote})
            self._sha256 = "sha256" in (said.get("Hashes") or [])
        return self._sha256

    def _call(self, command: str, told: dict[str, Any], patience_s: float = 0.0) -> dict[str, Any]:
        return self._ask(command, Body.of(json.dumps(told).encode()), "application/json", patience_s)

    def _ask(self, command: str, body: Body, kind: str, patience_s: float) -> dict[str, Any]:
        wire = self._started()
        headers = {"Content-Type": kind, "Authorization": f"Basic {self._login}"}
        answer = wire.ask("POST", f"/{command}", headers=headers, body=body, patience_s=patience_s)
        try:
            said: dict[str, Any] = json.loads(answer.body)
        except ValueError as error:
            raise Unreachable(f"rclone's answer is not understood: {answer.text}") from error
        if answer.status == 200:
            return said
        raise _fault(f"rclone, {self._settings.remote}: {str(said.get('error', answer.text))[:400]}")

    def _started(self) -> Wire:
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._wire = None
            if self._wire is None:
                self._wire = Wire(self._start(), "rclone", self._stall_s)
            return self._wire

    def _start(self) -> str:
        """Start rclone's remote control on a free loopback port, behind a password made for it; its address."""
        user, password = "scope-agent", secrets.token_hex(16)
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()
        command = [self._settings.executable, "--config", str(self._settings.config_file), "rcd"]
        # Its own retries and waiting are off: what fails is in the outbox, and a peer that stalls is given up.
        limits = ["--retries", "1", "--low-level-retries", "1", "--timeout", f"{self._stall_s:g}s"]
        limits += ["--contimeout", f"{min(10.0, self._stall_s):g}s"]
        # The password goes through the environment: arguments are seen by every program of the machine.
        environment = {**os.environ, "RCLONE_RC_USER": user, "RCLONE_RC_PASS": password}
        try:
            self._process = subprocess.Popen(
                [*command, "--rc-addr", "127.0.0.1:0", *limits],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment,
            )  # fmt: skip
        except OSError as error:
            raise Misconfigured(f"delivery.rclone.executable cannot be started: {error}") from error
        return self._address(self._process)

    def _address(self, process: subprocess.Popen[bytes]) -> str:
        found: queue.Queue[str] = queue.Queue()

        def listen() -> None:
            assert process.stderr is not None
            with process.stderr as lines:
                for line in lines:
                    text = line.decode("utf-8", "replace").strip()
                    match = _SERVING.search(text)
                    if match:
                        found.put(match[1].rstrip("/"))
                    else:
                        log.info("rclone: %s", text, extra={"action": "rclone"})
            found.put("")

        threading.Thread(target=listen, name="scope-agent-rclone", daemon=True).start()
        try:
            address = found.get(timeout=_START_S)
        except queue.Empty:
            address = ""
        if not address:
            process.kill()
            raise Misconfigured("rclone did not start its remote control: see the log, and try 'rclone rcd' by hand")
        return address


def _fault(said: str) -> Exception:
    lower = said.lower()
    if any(word in lower for word in ("no space", "quota", "insufficient storage", "disk full")):
        return NoSpace(said)
    if any(word in lower for word in ("didn't find section", "permission denied", "unauthorized", "forbidden", "auth")):
        return Misconfigured(said)
    return Unreachable(said)
