"""When certificates end: those that servers show, and those in files."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from agent.operate.finding import Finding

_SOON_DAYS = 30
_VALIDITY = re.compile(rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z){1}(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)")
"""notBefore and notAfter in DER, UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5)."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def ends(der: bytes) -> datetime | None:
    """notAfter of a certificate; None when it is none."""
    found = _VALIDITY.search(der)
    if found is None:
        return None
    short, long = found.group(3), found.group(4)
    if long:
        return datetime.strptime(long.decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    year = int(short[:2])
    century = b"20" if year < 50 else b"19"
    return datetime.strptime((century + short).decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def of_server(host: str, port: int, seconds: float = 5) -> bytes:
    """The certificate (DER) that a server shows, valid or not. Raises OSError."""
    context = ssl.create_default_context()
    # Nothing is sent to it: an expired certificate is to be seen, too.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=seconds) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


def in_file(path: Path) -> Iterator[bytes]:
    """The certificates (DER) in a PEM file. Raises OSError."""
    for text in _PEM.findall(path.read_text(encoding="ascii", errors="replace")):
        yield ssl.PEM_cert_to_DER_cert(text)


def judge(subject: str, what: str, der: bytes, now: datetime) -> Finding:
    """ok, warn within 30 days of its end, fail after it."""
    end = ends(der)
    if end is None:
        return Finding("warn", subject, f"the end of the certificate of {what} cannot be read")
    days = (end - now).days
    if end <= now:
        return Finding("fail", subject, f"the certificate of {what} ended on {end:%Y-%m-%d}: renew it")
    if days < _SOON_DAYS:
        return Finding("warn", subject, f"the certificate of {what} ends in {days} days ({end:%Y-%m-%d}): renew it")
    return Finding("ok", subject, f"the certificate of {what} is valid until {end:%Y-%m-%d}")
