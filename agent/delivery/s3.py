"""Target `s3`: any S3 store. Objects appear one by one, the manifest last: its presence means that all are there.

Large files go in parts that are gone on with after a restart (s3_parts.py). Nothing is overwritten but what this
installation left unfinished. What the store guarantees is probed before the first file; where it does not check
checksums, every object is read back and hashed. Lists come through obstore; objects are put by requests of our own,
for they carry the hash that was made while reading: obstore can only be told to hash every byte once more, which
alone took as long as all the rest.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from agent.contract.layout import MANIFEST, RECORD, check_dataset_path, check_member
from agent.contract.manifest import parse
from agent.delivery import s3_parts
from agent.delivery.port import Held, Outgoing
from agent.delivery.refusal import refusal
from agent.delivery.s3_client import OWNER, SHA256, Credentials, S3Client, b64
from agent.delivery.s3_parts import Multipart
from agent.delivery.s3_probe import Guarantees, probe
from agent.delivery.settings import S3Settings
from agent.delivery.wire import Answer, Body
from agent.errors import Mismatch, Rejected, Retryable, Unreachable

if TYPE_CHECKING:
    from obstore.store import S3Store

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_LIST_S = 60.0
"""Time that a store may take for a page of a list."""


class S3Target:
    """See Target."""

    name = "s3"

    def __init__(self, settings: S3Settings, stall_s: float, owner: str) -> None:
        self._settings = settings
        self._stall_s = stall_s
        self._owner = owner
        self._plain_owner = owner.isascii() and owner.split() == [owner]
        self._client = S3Client(settings, stall_s)
        self._part = self.at_once = settings.part_mib << 20
        self._known: dict[tuple[str, str], tuple[bytes, int]] = {}
        """Of what was sent in this run: its hash, and the hash of the store's own mark of it (0: none). Kept small."""
        self._lock = threading.Lock()
        self._probed: Guarantees | None = None
        self._lists: tuple[Credentials, S3Store] | None = None
        self._current: tuple[str, dict[str, str] | None] = ("", None)

    @property
    def guarantees(self) -> Guarantees:
        """Probed once, before the first file."""
        if self._probed is not None:
            return self._probed
        with self._lock:
            if self._probed is None:
                self._probed = probe(self._client, self._prefix)
                for doubt in self._probed.doubts():
                    log.warning("the store: %s", doubt, extra={"action": "s3.doubt"})
            return self._probed

    def check(self) -> None:
        self._client.ask("GET", "", {"list-type": "2", "max-keys": "1", "prefix": self._prefix}, accept=(200, 403))
        assert self.guarantees

    def doubts(self) -> list[str]:
        return self.guarantees.doubts()

    def send(self, dataset: str, file: Outgoing) -> str:
        key = self._key(dataset, file.target)
        committed = self._committed(dataset)
        if committed is not None:
            if file.target not in committed:
                raise Mismatch(f"{dataset} exists in the store without {file.target}: it is another acquisition's")
            return committed[file.target]
        if file.size <= self._part:
            digest, etag = self._send_whole(dataset, key, file)
        else:
            digest, etag = self._send_parts(dataset, key, file), ""
        self._know(dataset, file.target, digest, etag)
        return digest

    def begin(self, dataset: str, path: str, body: bytes, sha256: str) -> Callable[[], bool]:
        """See Begins; only where the store itself refuses damaged bytes and to overwrite."""
        checked = self.guarantees.creates_only and self.guarantees.checks_sha256
        if not checked or not self._plain_owner or len(body) > self._part or self._committed(dataset) is not None:
            return _unknown
        lines = self._client.creation(self._key(dataset, path), self._owner, sha256, len(body))
        answered = self._client.wire.begin(lines, body)

        def holds() -> bool:
            answer = answered()
            if answer is None or answer.status != 200:
                return False
            self._know(dataset, path, sha256, answer.headers.get("ETag").strip('"'))
            return True

        return holds

    def _know(self, dataset: str, path: str, digest: str, etag: str) -> None:
        self._known[dataset, path] = (bytes.fromhex(digest), hash(etag) if etag else 0)

    def commit(self, dataset: str, manifest: bytes) -> Held:
        listed = parse(manifest)
        there = self._manifest(dataset)
        if there == manifest:
            return Held(listed)
        if there is not None:
            held = {path: self._digest(dataset, path) for path in parse(there)}
            return _compared(listed, held)
        found = {path: self._digest(dataset, path, etag) for path, etag in self._present(dataset) if path in listed}
        held_now = _compared(listed, found)
        if not held_now.missing and not held_now.different:
            self._put_manifest(dataset, manifest)
            self._current = ("", None)
            for path in listed:
                self._known.pop((dataset, path), None)
        return held_now

    def held(self, dataset: str) -> Held:
        manifest = self._manifest(dataset)
        if manifest is None:
            raise Rejected(f"the store has no dataset {dataset}")
        listed = parse(manifest)
        found = {path: digest for path in listed if (digest := self._read_back(self._key(dataset, path))) is not None}
        return _compared(listed, found)

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        if self._manifest(dataset) is None:
            return None
        answer = self._client.ask("GET", self._key(dataset, name), accept=(200, 404))
        return answer.body if answer.status == 200 else None

    def abandon(self, upload: str) -> None:
        # What another kind of target left in the outbox is no JSON list.
        if upload.startswith("["):
            s3_parts.end(self._client, Multipart.of(upload))

    def close(self) -> None:
        self._client.wire.close()

    def _committed(self, dataset: str) -> dict[str, str] | None:
        """Its manifest; asked once for the dataset that is under way, for the end is conditional anyway."""
        current = self._current
        if current[0] == dataset:
            return current[1]
        with self._lock:
            if self._current[0] != dataset:
                manifest = self._manifest(dataset)
                self._current = (dataset, parse(manifest) if manifest is not None else None)
            return self._current[1]

    # Files of one request

    def _send_whole(self, dataset: str, key: str, file: Outgoing) -> tuple[str, str]:
        """Hash and mark of what the store holds now."""
        pieces = tuple(file.blocks(0))
        body = Body.of(*pieces)
        if body.size != file.size:
            raise Retryable(f"{body.size} of {file.size} bytes of {file.target} were read: reading it again")
        digest = file.digest() if file.digest is not None else _sha256(pieces)
        etag = self._put(key, body, digest, create=True) if self.guarantees.creates_only else None
        if etag is None:
            found = self._client.ask("HEAD", key, accept=(200, 404))
            if found.status == 200 and not self._may_replace(dataset, found, key, digest):
                return digest, ""
            etag = self._put(key, body, digest, create=False) or ""
        return (digest if self.guarantees.checks_sha256 else self._read_back(key) or ""), etag

    def _put(self, key: str, body: Body, digest: str, *, create: bool) -> str | None:
        """The store's mark (ETag) of the object; None when it exists already."""
        headers = {
            "Content-Type": "application/octet-stream",
            "x-amz-checksum-sha256": b64(digest),
            OWNER: self._owner,
            SHA256: digest,
        }
        if create:
            headers["If-None-Match"] = "*"
        answer = self._client.ask("PUT", key, headers=headers, body=body, sha256=digest, accept=(200, 412))
        return answer.headers.get("ETag").strip('"') if answer.status == 200 else None

    def _may_replace(self, dataset: str, found: Answer, key: str, digest: str) -> bool:
        """The key exists. False: with these very bytes. True: with others, which we left and nobody can see yet."""
        if found.status == 404:
            return True
        ours = found.headers.get(OWNER) == self._owner
        same = found.headers.get(SHA256) == digest and self.guarantees.checks_sha256
        if same or self._read_back(key) == digest:
            return False
        if not ours or self._manifest(dataset) is not None:
            raise Mismatch(f"{key} exists in the store with other bytes and is not ours to replace")
        return True

    # Files in parts

    def _send_parts(self, dataset: str, key: str, file: Outgoing) -> str:
        create = True
        upload = Multipart.of(file.upload) if file.upload else None
        if upload is not None and upload.key != key:
            s3_parts.end(self._client, upload)
            upload = None
        if upload is None:
            found = self._client.ask("HEAD", key, accept=(200, 404))
            if found.status == 200:
                # The answer to its completion was lost, or it was sent before it changed: only reading it tells.
                for _ in file.blocks(0):
                    pass
                digest = _own(file)
                if not self._may_replace(dataset, found, key, digest):
                    return digest
                create = False
            upload = self._begin(key, file)
        create = create and self.guarantees.completes_only
        try:
            status = s3_parts.send(self._client, upload, file, create=create)
        except s3_parts.Changed:
            s3_parts.end(self._client, upload)
            upload = self._begin(key, file)
            status = s3_parts.send(self._client, upload, file, create=create)
        if status == 404:
            file.on_upload(self._begin(key, file).text())
            raise Retryable(f"the store has forgotten the upload of {key}: sending it again")
        if status == 412:
            s3_parts.end(self._client, upload)
            file.on_upload(self._begin(key, file).text())
            raise Retryable(f"{key} appeared in the store while it was sent: looking at it again")
        digest = _own(file)
        return digest if self.guarantees.checks_parts else self._read_back(key) or ""

    def _begin(self, key: str, file: Outgoing) -> Multipart:
        upload = s3_parts.begin(self._client, key, file.size, self._part, {OWNER: self._owner})
        file.on_upload(upload.text())
        return upload

    # What is there

    def _manifest(self, dataset: str) -> bytes | None:
        answer = self._client.ask("GET", self._key(dataset, MANIFEST), accept=(200, 404))
        return answer.body if answer.status == 200 else None

    def _put_manifest(self, dataset: str, manifest: bytes) -> None:
        key, digest = self._key(dataset, MANIFEST), hashlib.sha256(manifest).hexdigest()
        if self._put(key, Body.of(manifest), digest, create=self.guarantees.creates_only) is None:
            if self._manifest(dataset) != manifest:
                raise Mismatch(
                    f"{dataset} was committed by another agent meanwhile: two agents use one instrument name"
                )
        elif not self.guarantees.checks_sha256 and self._manifest(dataset) != manifest:
            raise Retryable(f"the manifest of {dataset} did not arrive as it was sent: sending it again")

    def _present(self, dataset: str) -> Iterator[tuple[str, str]]:
        """Paths below the dataset, as the store lists them, each with its mark."""
        import obstore
        from obstore.exceptions import BaseError

        prefix = self._key(dataset, "")
        try:
            for page in obstore.list(self._store, prefix=prefix.rstrip("/"), chunk_size=1000):
                for item in page:
                    yield item["path"].removeprefix(prefix), (item["e_tag"] or "").strip('"')
        except BaseError as error:
            raise self._translated(prefix, error) from error

    def _digest(self, dataset: str, path: str, listed: str = "") -> str:
        """Known from sending it in this run, unless the store lists something else by now; or read back."""
        digest, etag = self._known.get((dataset, path), (b"", 0))
        if digest and (not etag or not listed or etag == hash(listed)):
            return digest.hex()
        return self._read_back(self._key(dataset, path)) or ""

    def _read_back(self, key: str) -> str | None:
        """Hash of an object as the store gives it; None where there is none."""
        path, headers = self._client.signed("GET", key, {}, {})
        digest = hashlib.sha256()
        with self._client.wire.asked("GET", path, headers=headers) as reply:
            if reply.status != 200:
                answer = Answer("GET", path, reply.status, reply.headers, reply.all())
                if reply.status == 404:
                    return None
                raise refusal(self._client.wire.what, answer)
            while block := reply.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    @cached_property
    def _prefix(self) -> str:
        prefix = self._settings.prefix.strip("/")
        return f"{prefix}/" if prefix else ""

    def _key(self, dataset: str, path: str) -> str:
        if path:
            check_member(path)
        return f"{self._prefix}{_checked(dataset)}/{path}"

    @property
    def _store(self) -> S3Store:
        """For lists. Retries are ours: what failed is in the outbox."""
        credentials = self._client.credentials
        if self._lists is None or self._lists[0] != credentials:
            self._lists = (credentials, self._lister(credentials))
        return self._lists[1]

    def _lister(self, credentials: Credentials) -> S3Store:
        from obstore.store import S3Store

        return S3Store(
            self._settings.bucket,
            endpoint=str(self._settings.endpoint).rstrip("/"),
            region=self._settings.region,
            access_key_id=credentials.key_id,
            secret_access_key=credentials.secret,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": True,
                "timeout": timedelta(seconds=self._stall_s + _LIST_S),
                "connect_timeout": timedelta(seconds=min(10, self._stall_s)),
            },
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=self._stall_s)},
        )

    def _translated(self, key: str, error: Exception) -> Exception:
        """obstore tells causes in words; a plain request tells them in a status."""
        text = " ".join(str(error).split())[:300]
        if any(word in text for word in ("error sending request", "timed out", "connection", "Connect")):
            return Unreachable(f"{self._client.wire.what} cannot be reached: {text}")
        self._client.ask("HEAD", key, accept=(200, 404))
        return Retryable(f"{self._client.wire.what} does not list {key}: {text}")


def _unknown() -> bool:
    """Nothing was begun."""
    return False


_checked = lru_cache(16)(check_dataset_path)


def _own(file: Outgoing) -> str:
    return file.digest() if file.digest is not None else _sha256(file.blocks(0))


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _compared(listed: dict[str, str], found: dict[str, str]) -> Held:
    missing = tuple(sorted(listed.keys() - found.keys()))
    different = tuple(sorted(path for path in listed.keys() & found.keys() if listed[path] != found[path]))
    return Held(found, missing, different)
