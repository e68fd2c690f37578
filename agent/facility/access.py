"""Who may do what: a bearer token to write; to read as well, where reading is not open.

A browser sends a token as the password of HTTP Basic, with any user name; it never can write with that.
"""

from __future__ import annotations

import base64
import binascii
import logging
from typing import Annotated

from fastapi import Depends, Request

from agent.facility.parts import Shared
from agent.facility.refusal import Foreign, Unauthenticated
from agent.facility.tokens import Identity

audit = logging.getLogger("agent.facility.audit")


def writer(request: Request, parts: Shared) -> Identity:
    """The instrument whose bearer token came along. Raises Unauthenticated."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    who = parts.tokens.identify(token.strip()) if scheme.lower() == "bearer" else None
    if who is None:
        audit.warning("refused %s %s: no valid token", request.method, request.url.path)
        raise Unauthenticated("this needs a token: run 'scope-agent facility token create site/instrument' there")
    return who


def reader(request: Request, parts: Shared) -> Identity | None:
    """Who reads; None where everybody may. Raises Unauthenticated."""
    if parts.settings.reading_is_open:
        return None
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = _password(given) if scheme.lower() == "basic" else given.strip()
    who = parts.tokens.identify(token)
    if who is None:
        raise Unauthenticated("reading needs a token: run 'scope-agent facility token create NAME' there")
    return who


Writer = Annotated[Identity, Depends(writer)]
Reader = Annotated[Identity | None, Depends(reader)]


def everything(who: Reader) -> None:
    """Refuse tokens of instruments, which read only what is theirs. Raises Foreign."""
    if who is not None and not who.reads_all:
        raise Foreign("the token of an instrument cannot read the fleet: create one for a reader")


def check_write(who: Identity, dataset: str) -> None:
    """Raises Foreign."""
    if not who.may_write(dataset):
        audit.warning("refused %s: %s is not its dataset", who.name, dataset)
        raise Foreign(f"the token of {who.name} cannot write {dataset}: use the instrument's own")


def check_read(who: Identity | None, dataset: str) -> None:
    """Raises Foreign."""
    if who is not None and not who.may_read(dataset):
        raise Foreign(f"the token of {who.name} cannot read {dataset}")


def _password(basic: str) -> str:
    try:
        return base64.b64decode(basic.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
