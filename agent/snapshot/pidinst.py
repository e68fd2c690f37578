"""The instrument as PIDINST 1.0 asks for it, to register or update its persistent identifier."""

from __future__ import annotations

import re
from typing import Any

from agent.errors import Misconfigured
from agent.snapshot.parts import Microscope, Part
from agent.snapshot.profile import Profile

_DOI = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,}/\S+)$", re.IGNORECASE)
_HANDLE = re.compile(r"^(?:https?://hdl\.handle\.net/|hdl:)?([\d.]+(?:\.T?\d+)*/\S+)$", re.IGNORECASE)
_TYPES = {"Inverted": "Inverted light microscope", "Upright": "Upright light microscope"}
_VALUE_OF = {
    "identifier": "identifier", "ownerIdentifier": "ownerIdentifier", "date": "date",
    "relatedIdentifier": "relatedIdentifier", "alternateIdentifier": "alternateIdentifier",
}  # fmt: skip
"""XML elements that hold a value with attributes beside it, and the JSON key of that value."""
_ONE_OF = {"owners": "owner", "manufacturers": "manufacturer", "instrumentTypes": "instrumentType",
           "measuredVariables": "measuredVariable", "dates": "date", "relatedIdentifiers": "relatedIdentifier",
           "alternateIdentifiers": "alternateIdentifier"}  # fmt: skip


def pidinst(profile: Profile) -> dict[str, Any]:
    """The JSON form. Misconfigured names every mandatory key of [microscope] that the profile does not have yet."""
    stand = profile.microscope
    wanted = ("pid", "name", "owner", "manufacturer", "landing_page")
    said = {key: _literal(stand, key) for key in wanted}
    said["landing_page"] = said["landing_page"] or (said["pid"] if said["pid"].startswith("http") else "")
    missing = [key for key in wanted if not said[key]]
    if missing:
        raise Misconfigured(f"PIDINST asks for more than the profile knows: add {', '.join(missing)} to [microscope]")
    kind, pid = _identifier(said["pid"])
    owner: dict[str, Any] = {"ownerName": said["owner"]}
    if contact := _literal(stand, "owner_contact"):
        owner["ownerContact"] = contact
    if owner_id := _literal(stand, "owner_id"):
        kind_of_owner = "ROR" if "ror.org" in owner_id else "URL" if owner_id.startswith("http") else "Other"
        owner["ownerIdentifier"] = {"ownerIdentifier": owner_id, "ownerIdentifierType": kind_of_owner}
    record: dict[str, Any] = {
        "identifier": {"identifier": pid, "identifierType": kind},
        "schemaVersion": "1.0",
        "landingPage": said["landing_page"],
        "name": said["name"],
        "owners": [owner],
        "manufacturers": [{"manufacturerName": said["manufacturer"]}],
    }
    return record | _recommended(profile, stand)


def _recommended(profile: Profile, stand: Microscope) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if model := _literal(stand, "model"):
        found["model"] = {"modelName": model}
    if description := _literal(stand, "description"):
        found["description"] = description
    found["instrumentTypes"] = [{"instrumentTypeName": _TYPES.get(stand.type or "", "Light microscope")}]
    if stand.commissioned:
        found["dates"] = [{"date": stand.commissioned, "dateType": "Commissioned"}]
    related = [_related(pid, part) for _, _, part in profile.parts() if (pid := _literal(part, "pid"))]
    if related:
        found["relatedIdentifiers"] = related
    numbers = (("serial_number", "SerialNumber"), ("inventory_number", "InventoryNumber"))
    known = [
        {"alternateIdentifier": value, "alternateIdentifierType": kind}
        for key, kind in numbers
        if (value := _literal(stand, key))
    ]
    return found | ({"alternateIdentifiers": known} if known else {})


def _related(pid: str, part: Part) -> dict[str, str]:
    kind, plain = _identifier(pid)
    said = {"relatedIdentifier": plain, "relatedIdentifierType": kind, "relationType": "HasComponent"}
    name = _literal(part, "model") or part.kind
    return said | {"relatedIdentifierName": name}


def _identifier(pid: str) -> tuple[str, str]:
    """(type, value) as PIDINST tells them apart."""
    for kind, pattern in (("DOI", _DOI), ("Handle", _HANDLE)):
        if match := pattern.match(pid):
            return kind, match[1]
    return ("URN", pid) if pid.startswith("urn:") else ("URL", pid)


def _literal(part: Part, key: str) -> str:
    value = getattr(part, key)
    return value.strip() if isinstance(value, str) else ""


def to_xml(record: dict[str, Any]) -> bytes:
    """The XML form of what `pidinst` returns."""
    from lxml import etree

    root = etree.Element("instrument")
    for name, value in record.items():
        if isinstance(value, list):
            holder = etree.SubElement(root, name)
            for one in value:
                _element(holder, _ONE_OF[name], one)
        else:
            _element(root, name, value)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _element(parent: Any, name: str, value: Any) -> None:
    from lxml import etree

    made = etree.SubElement(parent, name)
    if not isinstance(value, dict):
        made.text = str(value)
        return
    own = _VALUE_OF.get(name)
    for key, inner in value.items():
        if key == own:
            made.text = str(inner)
        elif own is not None:
            made.set(key, str(inner))
        else:
            _element(made, key, inner)
