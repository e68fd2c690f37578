"""OME-XML read in pieces: 100,000 planes or a hostile document cost neither memory nor time.

Entities and document types are refused; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_PLANES = 2000
"""Planes that go into the metadata; above it they stay in the file, for ome-types needs 0.3 ms for each."""
_MANY = ("Plane", "TiffData", "BinData")
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


class UnreadableError(ValueError):
    """The text is not OME-XML that we accept; one line why."""


@dataclass(slots=True)
class Files:
    """What an OME-XML says about the files of its dataset."""

    uuid: str = ""
    metadata_file: str = ""
    """Where the metadata is, when this file has none of its own (BinaryOnly)."""
    names: dict[str, str] = field(default_factory=dict)
    """UUID by file name, in the order of the document."""
    planes: dict[str, int] = field(default_factory=dict)
    """IFDs that the document places in each file; the empty name is the file itself."""
    images: int = 0
    incomplete: bool = False
    """The text ended early, is not well-formed or is not OME-XML."""


def local(element: _Element) -> str:
    """Name without namespace."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _events(chunks: Iterable[bytes], tags: tuple[str, ...]) -> Iterator[tuple[str, _Element]]:
    """Start and end events of the named elements. Raises UnreadableError."""
    from lxml import etree

    parser: etree.XMLPullParser = etree.XMLPullParser(
        events=("start", "end"),
        tag=[f"{{*}}{tag}" for tag in tags],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        for number, chunk in enumerate(chunks):
            piece = chunk.lstrip(b"\xef\xbb\xbf \t\r\n") if number == 0 else chunk
            if b"<!DOCTYPE" in piece or b"<!ENTITY" in piece:
                raise UnreadableError("the OME-XML declares entities and is not read")
            parser.feed(piece)
            yield from parser.read_events()
        root = parser.close()
        yield from parser.read_events()
    except etree.XMLSyntaxError as error:
        raise UnreadableError(f"the OME-XML is cut off or damaged: {error.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise UnreadableError("the OME-XML declares entities and is not read")
    yield "root", root


def files(chunks: Iterable[bytes]) -> Files:
    """Which files the document names. Never raises for bad text: `incomplete` says so."""
    found = Files()
    try:
        for event, element in _events(chunks, ("OME", "BinaryOnly", "Image", *_MANY)):
            name = local(element)
            if event == "start" and name == "OME" and element.getparent() is None:
                found.uuid = element.get("UUID", "")
            elif event == "end":
                if name == "BinaryOnly":
                    found.metadata_file = element.get("MetadataFile", "")
                elif name == "Image":
                    found.images += 1
                elif name == "TiffData":
                    _tiff_data(found, element)
                if name in _MANY:
                    _drop_before(element)
            elif event == "root":
                found.incomplete = name != "OME"
    except UnreadableError:
        found.incomplete = True
    return found


def _tiff_data(found: Files, element: _Element) -> None:
    uuid = next((child for child in element if local(child) == "UUID"), None)
    name = "" if uuid is None else uuid.get("FileName", "")
    if uuid is not None and name:
        found.names.setdefault(name, (uuid.text or "").strip())
    ifd, count = _integer(element.get("IFD")), _integer(element.get("PlaneCount"))
    if ifd is not None or count is not None:
        needed = (ifd or 0) + (1 if count is None else count)
    else:
        needed = _all_planes(element.getparent())
    if needed:
        found.planes[name] = max(found.planes.get(name, 0), needed)


def _all_planes(pixels: _Element | None) -> int:
    """What a TiffData without numbers stands for; 0 where that is not sure: older schemas name no channels there."""
    if pixels is None or next(pixels.iterchildren("{*}TiffData"), None) is not pixels[-1]:
        return 0
    channels = sum(1 for _ in pixels.iterchildren("{*}Channel"))
    return channels * (_integer(pixels.get("SizeZ")) or 0) * (_integer(pixels.get("SizeT")) or 0)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else None


def _drop_before(element: _Element) -> None:
    """Let go of the sibling before this one; the element itself is still the parser's."""
    before = element.getprevious()
    parent = element.getparent()
    if before is not None and parent is not None and local(before) in _MANY:
        parent.remove(before)


def document(
    chunks: Iterable[bytes], max_planes: int = MAX_PLANES, seen: Callable[[_Element], None] | None = None
) -> tuple[_Element, int]:
    """The document and how many Plane and TiffData elements it had; above `max_planes` they are left out.

    `seen` is given each of them once it is complete. Raises UnreadableError.
    """
    count = 0
    root: _Element | None = None
    for event, element in _events(chunks, _MANY):
        if event == "root":
            root = element
        elif event == "end":
            count += local(element) != "BinData"
            if seen is not None:
                seen(element)
            if count > max_planes or local(element) == "BinData":
                _drop_before(element)
    if root is None or local(root) != "OME":
        raise UnreadableError("the text is XML and not OME-XML")
    if count > max_planes:
        for element in list(root.iter("{*}Plane", "{*}TiffData")):
            parent = element.getparent()
            if parent is not None:
                parent.remove(element)
    return root, count
