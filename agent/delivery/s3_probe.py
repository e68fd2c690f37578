"""What a store really guarantees, found out by asking it to do wrong."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from agent.delivery import s3_parts
from agent.delivery.s3_client import S3Client, b64
from agent.delivery.wire import Body

log = logging.getLogger(__name__)

_REFUSED = tuple(range(400, 500))
_WRONG = "0" * 64


@dataclass(frozen=True, slots=True)
class Guarantees:
    """True where the store did the right thing when it was asked to do wrong."""

    checks_sha256: bool
    """A body with a wrong checksum is refused."""
    checks_parts: bool
    """So is a part of a multipart upload."""
    creates_only: bool
    """`If-None-Match: *` refuses to overwrite."""
    completes_only: bool
    """So does the end of a multipart upload."""
    keeps: bool
    """Our credentials cannot delete."""
    replaces: bool = True
    """Our credentials can put other bytes in the place of an object."""

    def doubts(self) -> list[str]:
        said = {
            "it accepts bytes that do not match their SHA-256: everything is read back": self.checks_sha256,
            "it accepts parts that do not match their SHA-256: large files are read back": self.checks_parts,
            "it overwrites in spite of If-None-Match: two agents could overwrite each other": self.creates_only,
            "it completes uploads over existing objects in spite of If-None-Match": self.completes_only,
            "our credentials may delete: give the agent a key that can only write, or lock or version the bucket":
                self.keeps,
        }  # fmt: skip
        if self.replaces:
            said["our credentials may overwrite: version or lock the bucket, or allow only puts with If-None-Match"] = (
                False
            )
        return [doubt for doubt, fine in said.items() if not fine]


def probe(client: S3Client, prefix: str) -> Guarantees:
    """Ask; leaves at most two objects of a few bytes below `prefix`, the same at every time."""
    key, body = f"{prefix}.scope-agent/probe", b"scope-agent asks what this store guarantees"
    right = hashlib.sha256(body).hexdigest()

    def put(name: str, checksum: str, **headers: str) -> int:
        told = {"x-amz-checksum-sha256": b64(checksum)} | {k.replace("_", "-"): v for k, v in headers.items()}
        every = (200, *_REFUSED)
        return client.ask("PUT", name, headers=told, body=Body.of(body), sha256=right, accept=every).status

    # The right one first: credentials that may not write at all would make every refusal look like a guarantee.
    if put(key, right) != 200 and client.ask("HEAD", key, accept=(200, 403, 404)).status != 200:
        client.ask("PUT", key, headers={"x-amz-checksum-sha256": b64(right)}, body=Body.of(body), sha256=right)
    replaces = put(key, right) == 200
    checks = put(f"{key}-wrong", _WRONG) != 200
    creates = put(key, right, If_None_Match="*") == 412
    parts, completes = _multipart(client, key, body, right)
    keeps = client.ask("DELETE", f"{key}-wrong", accept=(200, 204, *_REFUSED)).status in _REFUSED
    found = Guarantees(checks, parts, creates, completes, keeps, replaces)
    log.info("the store guarantees: %s", found, extra={"action": "s3.probed"})
    return found


def _multipart(client: S3Client, key: str, body: bytes, right: str) -> tuple[bool, bool]:
    upload = s3_parts.begin(client, key, len(body), 5 << 20, {})
    try:
        query = {"partNumber": "1", "uploadId": upload.id}

        def put(checksum: str) -> tuple[int, str]:
            told = {"x-amz-checksum-sha256": b64(checksum)}
            every = (200, *_REFUSED)
            answer = client.ask("PUT", key, query, headers=told, body=Body.of(body), sha256=right, accept=every)
            return answer.status, answer.headers.get("ETag", "").strip('"')

        checks = put(_WRONG)[0] != 200
        upload.parts = [(put(right)[1], right)]
        return checks, s3_parts.complete(client, upload, create=True) == 412
    finally:
        s3_parts.end(client, upload)
