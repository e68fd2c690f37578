"""The text of SerialEM's .mdoc: `key = value` lines, sections in brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from agent.formats import ome_build
from agent.formats.jsonable import Json
from agent.formats.ome_xml import MAX_PLANES
from agent.formats.parts import Parts, date, number, plane, positive
from agent.formats.port import Metadata

Fields = dict[str, str]
_SECTION = re.compile(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]\s*$")
_TYPES = {0: "uint8", 1: "int16", 2: "float32", 6: "uint16"}


@dataclass(slots=True)
class Mdoc:
    """Titles are the `[T = ...]` lines; each section begins with its own number under its `kind`."""

    globals: Fields = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    sections: list[Fields] = field(default_factory=list)
    kind: str = ""


def parse(text: str) -> Mdoc:
    """The text, as far as it is there."""
    found = Mdoc()
    current = found.globals
    for line in text.splitlines():
        section = _SECTION.match(line.strip())
        if section is not None and section[1] == "T":
            found.titles.append(section[2])
        elif section is not None:
            found.kind = found.kind or section[1]
            current = {section[1]: section[2]}
            found.sections.append(current)
        elif "=" in line:
            key, _, value = line.partition("=")
            current[key.strip()] = value.strip()
    return found


def _numbers(text: str | None) -> list[float]:
    return [value for part in (text or "").split() if (value := number(part)) is not None]


def read(said: Mdoc, name: str) -> Metadata:
    """The metadata; positions are micrometres, pixels Ångström."""
    rest: dict[str, Json] = {
        "mdoc": {**said.globals}, "mdoc titles": [*said.titles], "mdoc sections": [{**one} for one in said.sections]
    }  # fmt: skip
    title = next((text for text in (said.globals.get("T", ""), *said.titles) if "SerialEM" in text), "")
    software = {"SerialEM": ""} if title else {}
    first = {**said.globals, **(said.sections[0] if said.sections else {})}
    size = _numbers(first.get("ImageSize"))
    pixels = (
        ome_build.pixel_type(_TYPES.get(int(number(first.get("DataMode")) or 0), "")) if "DataMode" in first else None
    )
    if len(size) != 2 or min(size) < 1 or pixels is None:
        note = "the text does not say the size and type of the images"
        return Metadata(None, software, rest, notes=(note,))
    began = date(" ".join(first.get("DateTime", "").split()), "%d-%b-%y %H:%M:%S", "%d-%b-%Y %H:%M:%S")
    step = positive(first.get("PixelSpacing"))
    parts = Parts()
    image = ome_build.image(
        0,
        said.globals.get("ImageFile") or name,
        {"x": int(size[0]), "y": int(size[1]), "z": max(len(said.sections), 1)},
        pixels,
        steps={"x": (step, "Å"), "y": (step, "Å")} if step else None,
        planes=[_plane(z, one, began) for z, one in enumerate(said.sections[:MAX_PLANES])],
        date=began,
    )
    image.objective_settings = parts.objective(nominal_magnification=positive(first.get("Magnification")))
    return Metadata(parts.ome([image]), software, rest)


def _plane(z: int, said: Fields, began: Any) -> dict[str, Any]:
    at = date(" ".join(said.get("DateTime", "").split()), "%d-%b-%y %H:%M:%S", "%d-%b-%Y %H:%M:%S")
    delta = (at - began).total_seconds() if at and began else None
    where = [*_numbers(said.get("StagePosition"))[:2]]
    if len(where) == 2:
        where += _numbers(said.get("StageZ"))[:1]
    return plane(z, 0, 0, delta_s=delta, exposure_s=positive(said.get("ExposureTime")), um=where)
