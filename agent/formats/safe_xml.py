"""Vendor XML without its dangers: no entities, no document types, nothing fetched, a bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.formats import binary
from agent.formats.jsonable import Json
from agent.formats.ome_xml import UnreadableError, local

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_BYTES = 48 << 20
"""A larger document would need more than the memory we allow ourselves."""


def parse(raw: bytes, what: str = "the XML") -> _Element:
    """The root of a document. Raises UnreadableError."""
    from lxml import etree

    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"{what} has {len(raw)} bytes, too many to be read here; it stays in the file")
    raw = raw.strip(b"\0 \t\r\n")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise UnreadableError(f"{what} declares entities and is not read")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableError(f"{what} is cut off or damaged: {error}") from None
    if root.getroottree().docinfo.doctype:
        raise UnreadableError(f"{what} declares entities and is not read")
    return root


def child_text(element: _Element | None, *path: str) -> str | None:
    """Text of a descendant by local names; None where there is none or it is empty."""
    found = child(element, *path)
    text = (found.text or "").strip() if found is not None else ""
    return text or None


def child(element: _Element | None, *path: str) -> _Element | None:
    """The first descendant along local names."""
    for name in path:
        if element is None:
            return None
        element = next((one for one in element if local(one) == name), None)
    return element


def children(element: _Element | None, *path: str) -> list[_Element]:
    """All elements of the last name, below the first element along the names before it."""
    parent = child(element, *path[:-1])
    return [] if parent is None else [one for one in parent if local(one) == path[-1]]


def tree(element: _Element) -> Json:
    """The element as JSON, losslessly: attributes as @name, text as #text, repeated children as lists."""
    found: dict[str, Json] = {f"@{_plain(key)}": value for key, value in element.attrib.items()}
    text = (element.text or "").strip()
    for one in element:
        if not isinstance(one.tag, str):
            continue
        value, name = tree(one), local(one)
        before = found.get(name)
        if name not in found:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    if not found:
        return text
    if text:
        found["#text"] = text
    return found


def _plain(key: str | bytes) -> str:
    name = key.decode() if isinstance(key, bytes) else key
    return name.rpartition("}")[2]


def stream(path: Path, *names: str, limit: int = 2_000_000) -> Iterator[_Element]:
    """The elements of these local names one by one, let go behind; raises UnreadableError where the text ends.

    At most `limit` of them: an index of that many is read in tens of seconds and says nothing new.
    """
    from lxml import etree

    parser: etree.XMLPullParser = etree.XMLPullParser(
        events=("end",),
        tag=[f"{{*}}{name}" for name in names],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    seen = 0
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 16):
                if b"<!DOCTYPE" in piece or b"<!ENTITY" in piece:
                    raise UnreadableError(f"{path.name} declares entities and is not read")
                parser.feed(piece)
                for _, element in parser.read_events():
                    seen += 1
                    if seen > limit:
                        return
                    yield element
                    _let_go(element)
        parser.close()
    except etree.XMLSyntaxError as error:
        raise UnreadableError(f"{path.name} is cut off or damaged: {error.msg}") from None


def _let_go(element: _Element) -> None:
    element.clear()
    parent = element.getparent()
    while parent is not None and (before := element.getprevious()) is not None:
        parent.remove(before)


def cut_off(path: Path) -> bool:
    """True for XML that is sound and not at its end yet; False where that cannot be told."""
    from lxml import etree

    parser: etree.XMLPullParser = etree.XMLPullParser(
        events=("end",), resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    if path.stat().st_size > MAX_BYTES or not binary.head(path, 64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return False
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 16):
                if b"<!DOCTYPE" in piece or b"<!ENTITY" in piece:
                    return False
                parser.feed(piece)
                for _, element in parser.read_events():
                    _let_go(element)
    except etree.XMLSyntaxError:
        return False
    try:
        parser.close()
    except etree.XMLSyntaxError:
        return True
    return False


def opening(path: Path, name: str) -> dict[str, str] | None:
    """Attributes of the root element, without namespaces, when its local name is `name`; else None."""
    from lxml import etree

    parser: etree.XMLPullParser = etree.XMLPullParser(events=("start",), resolve_entities=False, no_network=True)
    try:
        with path.open("rb") as file:
            raw = file.read(1 << 16)
        if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
            return None
        parser.feed(raw)
        for _, element in parser.read_events():
            if local(element) != name:
                return None
            return {_plain(key): str(value) for key, value in element.attrib.items()}
    except (etree.XMLSyntaxError, OSError):
        return None
    return None
