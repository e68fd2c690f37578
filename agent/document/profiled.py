"""What an instrument profile says by itself: how complete it is per tier, and which keys are still missing where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.contract.record import Captured, Component, Tier
from agent.document.completeness import How, Need, of_components, of_stand, summed
from agent.snapshot.hardware import component_id
from agent.snapshot.parts import Live, Part
from agent.snapshot.profile import Profile
from agent.snapshot.values import attributes

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Of all parts, in use or not; settings of channels are only known when images are taken."""

    tiers: dict[str, Tier]
    wanted: dict[Place, list[tuple[str, str]]]
    """By table of the profile: keys that are missing, with their tier and meaning."""


def assess(profile: Profile) -> Assessment:
    """Hold a profile against the required fields of NBO."""
    needs = list(of_stand(_promised(profile.microscope)))
    wanted: dict[Place, list[tuple[str, str]]] = {("microscope",): _keys(profile.microscope, needs)}
    for place, part in _places(profile):
        own = list(of_components([_component(place, part)]))
        wanted[place] = _keys(part, own)
        needs += own
    tiers = {f"tier{tier}": summed(need for need in needs if need.tier <= tier) for tier in (1, 2, 3)}
    return Assessment(tiers, wanted)


def _places(profile: Profile) -> Iterator[tuple[Place, Part]]:
    """Every part with the path of its table."""
    for table in type(profile).model_fields:
        found = getattr(profile, table)
        if not isinstance(found, dict):
            continue
        for key, inner in found.items():
            if isinstance(inner, Part):
                yield (table, key), inner
            elif isinstance(inner, dict):
                yield from (((table, key, label), one) for label, one in inner.items() if isinstance(one, Part))


def _component(place: Place, part: Part) -> Component:
    device, label = place[1], place[2] if len(place) > 2 else None
    name = component_id(part.kind, device, label)
    return Component(id=name, kind=part.kind, device=device, label=label, attributes=_promised(part))


def _promised(part: Part) -> dict[str, Captured]:
    """The values of a part; those that will be read from the device count as captured."""
    found = attributes(part, "", {})
    for key, info in type(part).model_fields.items():
        extra = info.json_schema_extra
        value = getattr(part, key)
        if isinstance(value, Live) and isinstance(extra, dict) and "ome" in extra:
            found[str(extra["ome"])] = Captured(value=f"property {value.prop}", source="live")
    return found


def _keys(part: Part, needs: list[Need]) -> list[tuple[str, str]]:
    """The keys of a part that would fill its missing fields, or the NBO name to be used under `also`."""
    keys = {
        str(extra["ome"]): key
        for key, info in type(part).model_fields.items()
        if isinstance(extra := info.json_schema_extra, dict) and "ome" in extra
    }
    found = []
    for need in sorted((n for n in needs if n.how is How.MISSING), key=lambda n: n.tier):
        words = f"tier {need.tier}: {need.what.partition(': ')[2]}"
        found.append((keys.get(need.field, f"also.{need.field}"), words))
    return list(dict.fromkeys(found))
