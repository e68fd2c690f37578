"""Microscope.json of the Micro-Meta App (NBO model v2) as a profile; nothing in the file is dropped.

What has a key of ours gets it, converted to its unit. All other facts stay under `also`, by NBO's names, and so
reach the annotations and count for completeness; what the app only needs for drawing stays under `app`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.errors import Misconfigured
from agent.snapshot.metaapp_fields import FIELDS, LIGHTS, TABLES, converted
from agent.snapshot.parts import (
    Autofocus,
    Detector,
    Dichroic,
    Environment,
    Filter,
    Focus,
    Light,
    Microscope,
    Objective,
    Other,
    Part,
    Plain,
    Software,
    Stage,
)
from agent.snapshot.profile import Profile

_DRAWN = frozenset(
    ["Width", "Height", "OffsetX", "OffsetY", "PositionX", "PositionY", "PositionZ", "OccupiedSpot", "occupiedSpot"]
)
_HOLDERS = frozenset(["FilterCube", "EmissionFilterWheel", "ExcitationFilterWheel"])
_MODELS: dict[str, type[Part]] = {
    "microscope": Microscope, "objective": Objective, "detector": Detector, "filter": Filter, "dichroic": Dichroic,
    "light": Light, "stage": Stage, "focus": Focus, "autofocus": Autofocus, "environment": Environment, "other": Other,
}  # fmt: skip
_MANY = frozenset(["objective", "filter", "dichroic"])
"""Tables with a second level: the label of the position."""


@dataclass(slots=True)
class Imported:
    """A profile and what was found in the file, for people."""

    profile: Profile
    found: Counter[str] = field(default_factory=Counter)
    """Components by table."""
    kept: Counter[str] = field(default_factory=Counter)
    """Fields without a key of ours, kept under `also`, and how often each occurs."""
    drawing: Counter[str] = field(default_factory=Counter)
    """Fields for drawing, kept under `app`."""


def read_metaapp(path: Path) -> Imported:
    """Read a Microscope.json. Raises Misconfigured when it is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("components"), list):
        raise Misconfigured(f"{path} is no Microscope.json of the Micro-Meta App: it has no list of components")
    return _Reader(said).read()


class _Reader:
    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self._components = [one for one in said["components"] if isinstance(one, dict)]
        self._names = {str(one.get("ID")): str(one.get("Name") or one.get("ID")).strip() for one in self._components}
        self._tables: dict[str, Any] = {}
        self._out = Imported(Profile())

    def read(self) -> Imported:
        links = self._links()
        for component in self._components:
            self._add(component, links.pop(str(component.get("ID")), {}))
        self._microscope(links)
        self._out.profile = Profile.model_validate(self._tables)
        return self._out

    def _links(self) -> dict[str, dict[str, Plain]]:
        """What the app links to each component, by its id; `CCD_<id>` names the component's schema and id."""
        found: dict[str, dict[str, Plain]] = {}
        linked = self._said.get("linkedFields")
        for key, links in (linked if isinstance(linked, dict) else {}).items():
            schema, _, owner = key.rpartition("_")
            for name, link in links.items():
                value = link.get("value") if isinstance(link, dict) else link
                found.setdefault(owner, {})[f"Linked.{schema}.{name}"] = _plain(value)
        return found

    def _add(self, component: dict[str, Any], links: dict[str, Plain]) -> None:
        schema = str(component.get("Schema_ID", "")).removesuffix(".json")
        table = TABLES.get(schema) or ("light" if _light_kind(schema) else "other")
        part = self._part(table, schema, component, links)
        name = self._names[str(component.get("ID"))]
        places = self._tables.setdefault(table, {})
        if table in _MANY:
            places = places.setdefault(self._holder(table, str(component.get("ID"))), {})
        self._out.found[table] += 1
        places[_free(name, places)] = part

    def _part(self, table: str, schema: str, component: dict[str, Any], links: dict[str, Plain]) -> dict[str, Any]:
        model = _MODELS[table]
        keys: dict[str, Any] = dict(_given(table, schema, component))
        rest = {name: value for name, value in component.items() if value is not None and str(value).strip()}
        for key, rule in FIELDS[table].items():
            value = converted(rule, component)
            # The peak of a lamp's spectrum is not its line.
            lamp = key == "wavelength_nm" and keys["source"] not in ("Laser", "LightEmittingDiode")
            if value is None or lamp or not _fits(model, {**keys, key: value}, key):
                continue
            keys[key] = value
            if rule.exact:
                rest.pop(rule.name, None)
                rest.pop(rule.unit_field, None)
        keys["app"] = {name: _plain(rest.pop(name)) for name in list(rest) if name in _DRAWN or "Number_Of_" in name}
        keys["also"] = {name: _plain(value) for name, value in rest.items()} | links
        self._out.kept.update(keys["also"].keys())
        self._out.drawing.update(keys["app"].keys())
        return keys

    def _holder(self, table: str, owner: str) -> str:
        """The device that a position is in: the turret, or the first cube or wheel that names the part."""
        if table == "objective":
            turrets = [c for c in self._components if str(c.get("Schema_ID")).startswith("TurretObjective")]
            return self._names[str(turrets[0].get("ID"))] if len(turrets) == 1 else "Objective"
        for component in self._components:
            if str(component.get("Schema_ID", "")).removesuffix(".json") in _HOLDERS and owner in json.dumps(component):
                return self._names[str(component.get("ID"))]
        return "Light path"

    def _microscope(self, links: dict[str, dict[str, Plain]]) -> None:
        stand = self._said.get("MicroscopeStand")
        stand = stand if isinstance(stand, dict) else {}
        keys = self._part("microscope", str(stand.get("Schema_ID", "")).removesuffix(".json"), stand, {})
        keys["name"] = str(self._said.get("Name") or keys.get("name") or "Microscope")
        own = {
            k: v for k, v in self._said.items() if k not in ("components", "linkedFields", "MicroscopeStand", "Name")
        }
        more = {f"Instrument.{name}": _plain(value) for name, value in own.items() if value is not None}
        more |= {f"{owner}.{name}": value for owner, these in links.items() for name, value in these.items()}
        self._out.kept.update(more.keys())
        keys["also"] = keys["also"] | more
        self._tables["microscope"] = keys
        self._software()

    def _software(self) -> None:
        """The one acquisition software also has a place of its own."""
        named = [c for c in self._components if str(c.get("Schema_ID")) == "AcquisitionSoftware.json"]
        if len(named) == 1:
            texts = {"name": "Name", "developer": "Developer", "website": "WebsiteURL"}
            said = {key: str(named[0][theirs]) for key, theirs in texts.items() if named[0].get(theirs)}
            self._tables["software"] = Software(**said).model_dump(exclude_none=True)


def _light_kind(schema: str) -> str | None:
    return next((kind for kind in LIGHTS if schema == kind or schema.endswith(f"_{kind}")), None)


def _given(table: str, schema: str, component: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys that follow from what kind of component it is."""
    if table == "light":
        yield "source", _light_kind(schema)
    elif table == "filter":
        roles = {
            "ExcitationFilter": "excitation",
            "EmissionFilter": "emission",
            "NeutralDensityFilter": "neutral density",
        }
        yield "role", roles.get(schema, "other")
    elif table == "detector" and schema == "CMOS":
        yield "type", "CMOS"
    elif table == "stage" and schema.startswith("Piezo"):
        yield "piezo", True
    elif table == "microscope" and schema in ("InvertedMicroscopeStand", "UprightMicroscopeStand"):
        yield "type", schema.removesuffix("MicroscopeStand")
    elif table == "other":
        yield "what", schema or str(component.get("Category") or "Component")


def _fits(model: type[Part], keys: dict[str, Any], key: str) -> bool:
    """Does the key's value pass? A vendor's word that OME has no value for stays under `also`."""
    try:
        model.model_validate(keys)
    except ValidationError as error:
        return not any(fault["loc"][:1] in ((key,), ()) for fault in error.errors(include_url=False))
    return True


def _free(name: str, taken: dict[str, Any]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _plain(value: Any) -> Plain:
    """A value that TOML and annotations can hold; lists and tables as JSON text."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, ensure_ascii=False)
