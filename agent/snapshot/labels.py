"""What labels of positions hint at: `Nikon 10X S Fluor`, `Chroma-HQ535/50`, `470nm`. Hints are to be checked."""

from __future__ import annotations

import re
from typing import Any

_MAGNIFICATION = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*[xX]\b")
_NA = re.compile(r"(?:[nN][aA]\s*=?\s*(\d\.\d+)|(\d\.\d+)\s*[nN][aA]|[xX]\s*/\s*(\d\.\d+))")
_BAND = re.compile(r"(?<!\d)(\d{3}(?:\.\d)?)\s*[/-]\s*(\d{1,3})(?!\d)")
_WIDEST_NM = 250
_LONG_PASS = re.compile(r"(?<!\d)(\d{3})\s*(?:DCLP|LP|DCXR|DC|RDC|LPXR)\b", re.IGNORECASE)
_LINE = re.compile(r"(?<!\d)(\d{3,4})\s*nm", re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\d)\d{3,4}(?!\d)")
_SHORTEST_NM, _LONGEST_NM = 350, 1700
_IMMERSION = (
    ("oil", "Oil"), ("glyc", "Glycerol"), ("water dip", "WaterDipping"), ("water", "Water"), (" wi", "Water"),
    ("air", "Air"), ("dry", "Air"),
)  # fmt: skip
_CORRECTIONS = (
    ("plan apo", "PlanApo"), ("planapo", "PlanApo"), ("super fluor", "SuperFluor"), ("s fluor", "SuperFluor"),
    ("plan fluor", "PlanFluor"),
    ("planfluor", "PlanFluor"), ("plan neofluar", "PlanNeofluar"), ("neofluar", "Neofluar"),
    ("fluar", "Fluar"), ("fluotar", "Fluotar"), ("achro", "Achro"), ("apo", "Apo"),
)  # fmt: skip
EMPTY = re.compile(
    r"(?:state|objective|position|pos|filter)?[-_ ]?\d*[-_ ]*|(?:\d+[-_ ])?(?:empty|none|closed|open|blank)",
    re.IGNORECASE,
)
"""Labels of positions that hold nothing, or that nobody has named."""


def objective(label: str) -> dict[str, Any]:
    """Keys of an objective."""
    found: dict[str, Any] = {}
    if match := _MAGNIFICATION.search(label):
        found["magnification"] = float(match[1])
    if match := _NA.search(label):
        found["na"] = float(next(filter(None, match.groups())))
    plain = label.lower()
    for key, words in (("immersion", _IMMERSION), ("correction", _CORRECTIONS)):
        if word := next((meaning for text, meaning in words if text in plain), None):
            found[key] = word
    return found


def band(label: str) -> dict[str, Any]:
    """Keys of a filter: centre/width, as makers write it."""
    found = [(float(centre), float(width)) for centre, width in _BAND.findall(label)]
    # 405/488/561/640 are the lines that a mirror reflects, not a centre and a width.
    bands = [(centre - width / 2, centre + width / 2) for centre, width in found if width < _WIDEST_NM]
    if not bands or len(bands) < len(found):
        return {}
    return {"type": "BandPass" if len(bands) == 1 else "MultiPass", "bands_nm": bands}


def dichroic(label: str) -> dict[str, Any]:
    """Keys of a dichroic: the edge of a long-pass."""
    match = _LONG_PASS.search(label)
    return {"type": "LongPass", "cut_on_nm": float(match[1])} if match else {}


def laser(label: str) -> dict[str, Any]:
    """Keys of a laser by its device's name, `Obis488`: its wavelength, where one number can be one."""
    found = [int(one) for one in _NUMBER.findall(label) if _SHORTEST_NM <= int(one) <= _LONGEST_NM]
    return {"wavelength_nm": float(found[0])} if len(found) == 1 else {}


def line(label: str) -> dict[str, Any]:
    """Keys of a light: its wavelength."""
    match = _LINE.search(label)
    return {"wavelength_nm": float(match[1])} if match else {}
