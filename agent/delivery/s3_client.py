"""The S3 requests that obstore does not offer, signed by hand (AWS Signature Version 4) over one Wire.

Every body goes out with its SHA-256 in the signature and in `x-amz-checksum-sha256`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote

from agent.clock import SystemClock, utc
from agent.contract.settings import read_small
from agent.delivery.refusal import refusal
from agent.delivery.settings import S3Settings
from agent.delivery.wire import Answer, Body, Wire
from agent.errors import Misconfigured

log = logging.getLogger(__name__)

OWNER = "x-amz-meta-scope-agent-owner"
"""Header that says which installation left an object."""
SHA256 = "x-amz-meta-scope-agent-sha256"
_CREATION = f"content-type;host;if-none-match;x-amz-checksum-sha256;x-amz-content-sha256;x-amz-date;{OWNER};{SHA256}"
_CREATION_LINES = 12
EMPTY = hashlib.sha256(b"").hexdigest()


class Credentials(NamedTuple):
    """What a store knows us by."""

    key_id: str
    secret: str


def read_credentials(settings: S3Settings) -> Credentials:
    """From the file with two lines; Misconfigured in one line otherwise."""
    try:
        lines = read_small(settings.credentials_file).split()
    except OSError as error:
        raise Misconfigured(f"delivery.s3.credentials_file cannot be read: {error}") from error
    if len(lines) != 2:
        raise Misconfigured(f"{settings.credentials_file} must hold two lines: access key id and secret access key")
    return Credentials(*lines)


class S3Client:
    """One bucket. May be used by several threads."""

    def __init__(self, settings: S3Settings, stall_s: float) -> None:
        self._settings = settings
        self.wire = Wire(str(settings.endpoint), "the store", stall_s)
        self.credentials = read_credentials(settings)
        """They change when the file does, and the store refuses the old ones."""
        self._skew = timedelta()
        self._host = ("host", self.wire.host)
        self._moment = (-1, ("", "", b""))

    def ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        sha256: str = EMPTY,
        accept: tuple[int, ...] = (200, 204),
        patience_s: float = 0.0,
    ) -> Answer:
        """One request for `key` ("" for the bucket itself). Raises what `refusal` says of other answers."""
        for _ in range(3):
            path, signed = self.signed(method, key, query or {}, headers or {}, sha256)
            answer = self.wire.ask(method, path, headers=signed, body=body, patience_s=patience_s)
            if answer.status not in (401, 403):
                break
            skewed = b"RequestTimeTooSkewed" in answer.body
            if not (self._learn_time(answer) if skewed else self._learn_credentials()):
                break
        if answer.status in accept:
            return answer
        raise refusal(self.wire.what, answer)

    def signed(
        self, method: str, place: str, query: Mapping[str, str], headers: Mapping[str, str], sha256: str = EMPTY
    ) -> tuple[str, dict[str, str]]:
        """Path with query, and all headers, of a signed request."""
        time, scope, key = self._now()
        path = self.wire.prefix + quote(f"/{self._settings.bucket}/{place}".rstrip("/"), safe="/-_.~")
        pairs = "&".join([f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query)])
        told = {**headers, "x-amz-content-sha256": sha256, "x-amz-date": time}
        lower = sorted([(name.lower(), " ".join(value.split())) for name, value in told.items()] + [self._host])
        names = ";".join([name for name, _ in lower])
        lines = "\n".join([f"{name}:{value}" for name, value in lower])
        canonical = hashlib.sha256(f"{method}\n{path}\n{pairs}\n{lines}\n\n{names}\n{sha256}".encode()).hexdigest()
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}".encode(), "sha256").hex()
        told["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.credentials.key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return path.removeprefix(self.wire.prefix) + (f"?{pairs}" if pairs else ""), told

    def creation(self, key: str, owner: str, sha256: str, size: int) -> bytes:
        """Head of a signed request that creates an object, for the many small: `signed` takes four times as long.

        Misconfigured where something would end a line.
        """
        time, scope, signing = self._now()
        checksum, host = b64(sha256), self.wire.host
        path = self.wire.prefix + quote(f"/{self._settings.bucket}/{key}", safe="/-_.~")
        canonical = (
            f"PUT\n{path}\n\ncontent-type:application/octet-stream\nhost:{host}\nif-none-match:*\n"
            f"x-amz-checksum-sha256:{checksum}\nx-amz-content-sha256:{sha256}\nx-amz-date:{time}\n"
            f"{OWNER}:{owner}\n{SHA256}:{sha256}\n\n{_CREATION}\n{sha256}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(signing, f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}".encode(), "sha256").hex()
        lines = (
            f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\nIf-None-Match: *\r\n"
            f"x-amz-checksum-sha256: {checksum}\r\nx-amz-content-sha256: {sha256}\r\nx-amz-date: {time}\r\n"
            f"{OWNER}: {owner}\r\n{SHA256}: {sha256}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={self.credentials.key_id}/{scope}, "
            f"SignedHeaders={_CREATION}, Signature={signature}\r\nContent-Length: {size}\r\n\r\n"
        )
        if not lines.count("\r") == lines.count("\n") == _CREATION_LINES:
            raise Misconfigured(f"{self.wire.what} cannot be asked: there is a line end in a name or in delivery.s3")
        return lines.encode("latin-1")

    def _now(self) -> tuple[str, str, bytes]:
        """The time as it is signed, the scope, and the key for it: made once a second."""
        second = int(SystemClock().now_ns() // 1_000_000_000 + self._skew.total_seconds())
        known = self._moment
        if known[0] != second:
            when = utc(second * 1_000_000_000)
            scope = f"{when:%Y%m%d}/{self._settings.region}/s3/aws4_request"
            known = self._moment = (second, (f"{when:%Y%m%dT%H%M%SZ}", scope, self._key(scope)))
        return known[1]

    def _key(self, scope: str) -> bytes:
        key = b"AWS4" + self.credentials.secret.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key

    def _learn_credentials(self) -> bool:
        """Somebody may have changed them since the daemon started. False when the file holds the same."""
        found = read_credentials(self._settings)
        if found == self.credentials:
            return False
        self.credentials, self._moment = found, (-1, ("", "", b""))
        log.info("the store refused our credentials, and there are new ones", extra={"action": "s3.credentials"})
        return True

    def _learn_time(self, answer: Answer) -> bool:
        """The store's clock is what it compares ours with; ours may have been set wrong."""
        try:
            there = parsedate_to_datetime(answer.headers["Date"])
        except (KeyError, TypeError, ValueError):
            return False
        self._skew = there - datetime.fromtimestamp(SystemClock().now_ns() / 1e9, tz=UTC)
        return True


def b64(sha256_hex: str) -> str:
    """As S3 writes checksums."""
    return base64.b64encode(bytes.fromhex(sha256_hex)).decode()
