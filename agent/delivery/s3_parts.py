"""A large file in parts, gone on with after a restart of either side.

The place to resume at is kept in the outbox: upload id and what each finished part was. A part counts as sent only
when the store still lists it and the source still has the bytes that it was made of: a store that lists parts tells
no SHA-256, and the source may have been rewritten while the agent was down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from agent.delivery.ahead import ahead
from agent.delivery.port import Outgoing
from agent.delivery.s3_client import S3Client, b64
from agent.delivery.wire import Body
from agent.errors import Retryable

_MOST_PARTS = 9000
_COMPLETE_S = 600.0


@dataclass(slots=True)
class Multipart:
    """An upload in parts, as it is kept in the outbox."""

    key: str
    id: str
    part_size: int
    parts: list[tuple[str, str]] = field(default_factory=list)
    """(ETag, SHA-256 hex) of the parts 1, 2, ... that were acknowledged."""

    def text(self) -> str:
        return json.dumps([self.key, self.id, self.part_size, self.parts])

    @classmethod
    def of(cls, text: str) -> Multipart:
        key, upload_id, part_size, parts = json.loads(text)
        return cls(key, upload_id, part_size, [(etag, digest) for etag, digest in parts])


class Changed(Exception):
    """The source is not what the finished parts were made of. Some stores replace no part: begin anew."""


def begin(client: S3Client, key: str, size: int, part_size: int, headers: dict[str, str]) -> Multipart:
    """A new upload; earlier ones for the same key, which nobody remembers, are ended."""
    for upload_id in unfinished(client, key):
        end(client, Multipart(key, upload_id, 0))
    answer = client.ask("POST", key, {"uploads": ""}, headers=headers | {"x-amz-checksum-algorithm": "SHA256"})
    part = max(part_size, -(-size // _MOST_PARTS))
    return Multipart(key, _text(answer.body, "UploadId"), part)


def send(client: S3Client, upload: Multipart, file: Outgoing, *, create: bool) -> int:
    """Send what is missing and complete the upload; the HTTP status of the last answer, 412 when the key exists.

    Raises Changed before anything is sent that does not fit the parts that are there.
    """
    listed = _listed(client, upload) if upload.parts else {}
    number = 0
    # Three threads in a row: one reads and hashes the whole, one hashes the parts, this one sends.
    with (
        ahead(_parts(file.blocks(0), upload.part_size)) as bodies,
        ahead(_hashed(bodies)) as parts,
    ):
        for number, (body, sha256) in enumerate(parts, 1):
            if number <= len(upload.parts):
                etag, known = upload.parts[number - 1]
                if known != sha256:
                    raise Changed
                if listed.get(number) == etag:
                    continue
                del upload.parts[number - 1 :]
            upload.parts.append((_put(client, upload, number, body, sha256), sha256))
            file.on_upload(upload.text())
    del upload.parts[number:]
    return complete(client, upload, create=create)


def end(client: S3Client, upload: Multipart) -> None:
    """Remove the parts; an unknown upload is no error."""
    client.ask("DELETE", upload.key, {"uploadId": upload.id}, accept=(200, 204, 404))


def unfinished(client: S3Client, key: str) -> list[str]:
    """Upload ids for exactly this key."""
    body = client.ask("GET", "", {"uploads": "", "prefix": key}, accept=(200, 403, 404, 501)).body
    if not body.lstrip().startswith(b"<"):
        return []
    uploads = [element for element in _parse(body).iter() if element.tag.endswith("}Upload") or element.tag == "Upload"]
    told = [{child.tag.rpartition("}")[2]: child.text or "" for child in upload} for upload in uploads]
    return [upload["UploadId"] for upload in told if upload.get("Key") == key and "UploadId" in upload]


def _put(client: S3Client, upload: Multipart, number: int, body: Body, sha256: str) -> str:
    answer = client.ask(
        "PUT",
        upload.key,
        {"partNumber": str(number), "uploadId": upload.id},
        headers={"x-amz-checksum-sha256": b64(sha256)},
        body=body,
        sha256=sha256,
    )
    return answer.headers.get("ETag", "").strip('"')


def _listed(client: S3Client, upload: Multipart) -> dict[int, str]:
    """ETag by number of the parts that the store holds; empty when it knows no such upload."""
    found: dict[int, str] = {}
    marker = "0"
    while True:
        query = {"uploadId": upload.id, "part-number-marker": marker}
        answer = client.ask("GET", upload.key, query, accept=(200, 404))
        if answer.status == 404:
            return {}
        root = _parse(answer.body)
        for part in root.iter():
            if part.tag.rpartition("}")[2] == "Part":
                told = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
                found[int(told["PartNumber"])] = told["ETag"].strip('"')
        following = _text_in(root, "NextPartNumberMarker")
        if _text_in(root, "IsTruncated") != "true" or not following or following == marker:
            return found
        marker = following


def complete(client: S3Client, upload: Multipart, *, create: bool) -> int:
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(etag)}&quot;</ETag>"
        f"<ChecksumSHA256>{b64(sha256)}</ChecksumSHA256></Part>"
        for number, (etag, sha256) in enumerate(upload.parts, 1)
    )
    body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
    answer = client.ask(
        "POST",
        upload.key,
        {"uploadId": upload.id},
        headers={"If-None-Match": "*"} if create else {},
        body=Body.of(body),
        sha256=hashlib.sha256(body).hexdigest(),
        accept=(200, 404, 412),
        patience_s=_COMPLETE_S,
    )
    if answer.status == 200 and b"<Error>" in answer.body:
        # S3 begins its answer before it knows the end.
        raise Retryable(f"{client.wire.what} could not complete {upload.key}: {answer.text}")
    return answer.status


def _parts(blocks: Iterator[bytes], size: int) -> Iterator[Body]:
    pieces: list[bytes] = []
    length = 0
    for block in blocks:
        head = block[: size - length] if length + len(block) > size else block
        pieces.append(head)
        length += len(head)
        if length == size:
            yield Body(tuple(pieces), length)
            rest = block[len(head) :]
            pieces, length = ([rest], len(rest)) if rest else ([], 0)
    if length:
        yield Body(tuple(pieces), length)


def _hashed(bodies: Iterator[Body]) -> Iterator[tuple[Body, str]]:
    for body in bodies:
        digest = hashlib.sha256()
        for piece in body.pieces:
            digest.update(piece)
        yield body, digest.hexdigest()


def _parse(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - from the store that we trust with the data
    except ElementTree.ParseError as error:
        raise Retryable(f"the store's answer is no XML: {body[:100]!r}") from error


def _text(body: bytes, name: str) -> str:
    found = _text_in(_parse(body), name)
    if not found:
        raise Retryable(f"the store's answer has no {name}: {body[:200]!r}")
    return found


def _text_in(root: ElementTree.Element, name: str) -> str:
    return next((element.text or "" for element in root.iter() if element.tag.rpartition("}")[2] == name), "")
