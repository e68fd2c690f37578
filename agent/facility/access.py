"""Who may do what: a bearer token to write; to read as well, where reading is not open.

A browser sends a token as the password of HTTP Basic, with any user name; it never can write with that. Where a
proxy has asked already who it is, its header names the reader; the header counts from the proxy's address only.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request

from agent.facility.parts import Parts, Shared
from agent.facility.refusal import Refusal
from agent.facility.tokens import Identity


def writer(request: Request, parts: Shared) -> Identity:
    """The instrument whose bearer token came along. Raises Refusal."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    who = _known(request, parts, token.strip() if scheme.lower() == "bearer" else "")
    if who is None:
        raise Refusal(
            "this needs a token: run 'scope-agent facility token create site/instrument' there", HTTPStatus.UNAUTHORIZED
        )
    parts.writing.take(who.name)
    return who


def reader(request: Request, parts: Shared) -> Identity | None:
    """Who reads; None where everybody may. Raises Refusal."""
    who = _reader(request, parts)
    parts.reading.take(who.name if who else address(request, parts))
    return who


def _reader(request: Request, parts: Parts) -> Identity | None:
    header = parts.settings.proxy_user_header
    name = request.headers.get(header, "").strip()[:200] if header else ""
    if name and _is_proxy(request, parts):
        # Never the name of an instrument: those bring tokens.
        return Identity(name.replace("/", "_"))
    if parts.settings.reading_is_open:
        return None
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    who = _known(request, parts, _password(given) if scheme.lower() == "basic" else given.strip())
    if who is None:
        raise Refusal(
            "reading needs a token: run 'scope-agent facility token create NAME' there", HTTPStatus.UNAUTHORIZED
        )
    return who


Writer = Annotated[Identity, Depends(writer)]
Reader = Annotated[Identity | None, Depends(reader)]


def everything(who: Reader) -> None:
    """Refuse tokens of instruments, which read only what is theirs. Raises Refusal."""
    if who is not None and not who.reads_all:
        raise Refusal("the token of an instrument cannot read the fleet: create one for a reader", HTTPStatus.FORBIDDEN)


def check_write(request: Request, parts: Parts, who: Identity, dataset: str) -> None:
    """Raises Refusal."""
    if not who.may_write(dataset):
        audit(request, parts, "write", "refused", who, dataset=dataset)
        raise Refusal(f"the token of {who.name} cannot write {dataset}: use the instrument's own", HTTPStatus.FORBIDDEN)


def check_read(request: Request, parts: Parts, who: Identity | None, dataset: str) -> None:
    """Raises Refusal."""
    if who is not None and not who.may_read(dataset):
        audit(request, parts, "read", "refused", who, dataset=dataset)
        raise Refusal(f"the token of {who.name} cannot read {dataset}", HTTPStatus.FORBIDDEN)


def audit(request: Request, parts: Parts, action: str, outcome: str, who: Identity | None, **more: object) -> None:
    """A line of the audit log about a request."""
    parts.audit.note(action, outcome, who=who.name if who else None, address=address(request, parts), **more)


def address(request: Request, parts: Parts) -> str:
    """Where a request comes from; behind a trusted proxy, what that says."""
    peer = request.client.host if request.client else "unknown"
    if _is_proxy(request, parts):
        return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()[:64] or peer
    return peer


def _known(request: Request, parts: Parts, token: str) -> Identity | None:
    """Whose token it is; who shows wrong ones again and again is not listened to for a while."""
    place = address(request, parts)
    who = parts.tokens.identify(token) if token else None
    if who is None:
        parts.failing.check(place)
        if token:
            parts.failing.take(place)
        audit(request, parts, "token", "refused", None, method=request.method, path=request.url.path)
    return who


def _is_proxy(request: Request, parts: Parts) -> bool:
    if not parts.settings.trusted_proxies or request.client is None:
        return False
    try:
        peer = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(net, strict=False) for net in parts.settings.trusted_proxies)


def _password(basic: str) -> str:
    try:
        return base64.b64decode(basic.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
