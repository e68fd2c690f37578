"""Leaves out of an OME-XML document what its schema does not allow: one wrong value must not cost all the others.

Writers give a pixel size of 0 where they do not know it, local dates, elements of their own.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

from agent.formats.ome_xml import NAMESPACE, local

if TYPE_CHECKING:
    from lxml.etree import _Element, _LogEntry

_MAX_ROUNDS = 30
"""The schema names what is behind a fault only when the fault is gone."""
_MAX_NOTES = 20
_PART = re.compile(r"Element '([^']*)'(?:, attribute '([^']*)')?: (.*)", re.DOTALL)
_YEAR = re.compile(r"(?!0000)\d{4}-")
_KEY = re.compile(r"key-sequence \['([^']*)'\]")


class Fault(Enum):
    """What is left out."""

    VALUE = auto()
    """Attributes and texts that are no value of their kind."""
    ANY = auto()
    """Whole elements too, where nothing less helps."""


def leave_out_dates(root: _Element) -> list[str]:
    """Those that the schema allows, but no calendar of ours knows; one line for each."""
    said: list[str] = []
    for date in root.findall(f"{{{NAMESPACE}}}Image/{{{NAMESPACE}}}AcquisitionDate"):
        text = (date.text or "").strip()
        if not _YEAR.match(text):
            said += filter(None, [_drop(date, f"AcquisitionDate {text[:80]!r} is no date and was left out")])
    return said


def mend(root: _Element, faults: Fault = Fault.ANY) -> list[str]:
    """Change a document of 2016-06 until its schema allows it; one line for each thing that was left out."""
    from agent.formats.ome_model import schema

    said: list[str] = []
    for _ in range(_MAX_ROUNDS):
        if schema().validate(root):
            break
        # The paths hold only as long as nothing was removed: first find all, then change.
        found = [(entry, part) for entry in schema().error_log for part in _parts(root, entry)]
        done = [line for entry, part in found if (line := _mend_one(part, entry, faults))]
        if not done:
            break
        said += done
    if len(said) > _MAX_NOTES:
        said[_MAX_NOTES:] = [f"{len(said) - _MAX_NOTES} more were left out"]
    return said


def _parts(root: _Element, entry: _LogEntry) -> list[_Element]:
    """The elements that a line of the schema's log is about."""
    from lxml import etree

    if entry.path:
        # The path has prefixes where the document has.
        spaces = {prefix: space for part in root.iter() for prefix, space in part.nsmap.items() if prefix}
        try:
            found = root.getroottree().xpath(entry.path, namespaces=spaces)
        except etree.XPathError:
            return []
        return [part for part in found if not isinstance(part, str)] if isinstance(found, list) else []
    # A reference to what is not there comes without its place.
    about, key = _PART.match(entry.message), _KEY.search(entry.message)
    if about is None or key is None:
        return []
    return [part for part in root.iter(about[1]) if part.get("ID") == key[1]]


def _mend_one(part: _Element, entry: _LogEntry, faults: Fault) -> str | None:
    """One line on what was left out; None when it stays."""
    about = _PART.match(entry.message)
    attribute = about[2] if about is not None else None
    name = local(part)
    if attribute and attribute in part.attrib:
        value = part.attrib.pop(attribute)
        return f"{name} {attribute} {value[:80]!r} is no value of its kind and was left out"
    if entry.type_name.startswith("SCHEMAV_CVC") and "_VALID" in entry.type_name and not attribute and len(part) == 0:
        return _drop(part, f"{name} {(part.text or '').strip()[:80]!r} is no value of its kind and was left out")
    if faults is not Fault.ANY or part.getparent() is None:
        return None
    if "Duplicate key-sequence" in entry.message:
        return _rename(part)
    if "Missing child element" in entry.message and name == "Pixels":
        part.insert(_before_planes(part), part.makeelement(f"{{{NAMESPACE}}}MetadataOnly"))
        return f"{name} does not say where its planes are"
    return _drop(part, f"{name} does not follow the schema and was left out")


def _rename(part: _Element) -> str:
    """A second thing of the same name; references mean the first one."""
    old = part.get("ID", "")
    taken = {other.get("ID") for other in part.getroottree().getroot().iter(str(part.tag))}
    number = next(n for n in range(2, len(taken) + 3) if f"{old}:{n}" not in taken)
    part.set("ID", f"{old}:{number}")
    return f"{local(part)} {old} is there more than once"


def _before_planes(pixels: _Element) -> int:
    """Where MetadataOnly belongs: behind the channels."""
    return next((n for n, child in enumerate(pixels) if local(child) == "Plane"), len(pixels))


def _drop(part: _Element, line: str) -> str | None:
    """An image without pixels is none: they go together."""
    gone = part.getparent() if local(part) == "Pixels" else part
    parent = None if gone is None else gone.getparent()
    if gone is None or parent is None:
        return None
    parent.remove(gone)
    return line
