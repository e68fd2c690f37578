"""An S3 that accepts and discards: the speed of the sender alone. `python benchmarks/null_s3.py PORT`.

Signatures are not checked, nor checksums of more than a kilobyte, so that the sink costs little.
It remembers keys, and the body of small objects that are read again (manifests).
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import sys
import threading
from urllib.parse import parse_qs, unquote, urlsplit

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CHECKSUM = re.compile(rb"x-amz-checksum-sha256: *([A-Za-z0-9+/=]+)", re.IGNORECASE)
_KEPT = 1 << 20
objects: dict[str, bytes] = {}


def serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    print(f"listening on {port}", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


def talk(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(1 << 20))
    held = b""
    while True:
        while b"\r\n\r\n" not in held:
            data = connection.recv(65536)
            if not data:
                return
            held += data
        head, _, rest = held.partition(b"\r\n\r\n")
        match = _LENGTH.search(head)
        length = int(match[1]) if match else 0
        if b"100-continue" in head.lower():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, held, left = rest[:length], rest[length:], length - len(rest[:length])
        while left:
            got = connection.recv_into(buffer, min(left, len(buffer)))
            if not got:
                return
            if length <= _KEPT and length > len(body):
                body += bytes(buffer[:got])
            left -= got
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        connection.sendall(answer(method, target, body if length <= _KEPT else b"", head))


def answer(method: str, target: str, body: bytes, head: bytes) -> bytes:
    parts = urlsplit(target)
    key, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
    etag = '"0123456789abcdef0123456789abcdef"'
    told = _CHECKSUM.search(head)
    if told and 0 < len(body) <= 1024 and told[1] != base64.b64encode(hashlib.sha256(body).digest()):
        return plain(400, "")
    if method == "POST" and "uploads" in query:
        return xml(200, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
    if method == "POST" and "uploadId" in query:
        if key in objects and b"if-none-match: *" in head.lower():
            return plain(412, "")
        objects[key] = b""
        return xml(200, f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")
    if method == "PUT":
        if key in objects and b"if-none-match: *" in head.lower():
            return plain(412, "")
        if "partNumber" not in query:
            # Only what is read again is kept: manifests and probes.
            objects[key] = body if key.endswith((".txt", "probe")) else b""
        return plain(200, f"ETag: {etag}\r\n")
    if method == "GET" and "list-type" in query:
        wanted = f"{key.rstrip('/')}/{query.get('prefix', [''])[0]}"
        bucket = len(key.rstrip("/")) + 1
        rows = "".join(
            f"<Contents><Key>{name[bucket:]}</Key><Size>0</Size><ETag>{etag}</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in objects
            if name.startswith(wanted)
        )
        return xml(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")
    if method == "GET" and "uploads" in query:
        return xml(200, "<ListMultipartUploadsResult></ListMultipartUploadsResult>")
    if method == "DELETE":
        return plain(204 if "uploadId" in query else 403, "")
    if key not in objects:
        return plain(404, "")
    found = objects[key]
    headers = f"ETag: {etag}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: {len(found)}\r\n"
    return f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + (found if method == "GET" else b"")


def xml(status: int, text: str) -> bytes:
    body = f'<?xml version="1.0"?>{text}'.encode()
    return (
        f"HTTP/1.1 {status} OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def plain(status: int, headers: str) -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: 0\r\n\r\n".encode()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
