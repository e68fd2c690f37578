"""What labels of positions hint at: `Nikon 10X S Fluor`, `Chroma-HQ535/50`, `470nm`. Hints are to be checked."""

from __future__ import annotations

import re
from typing import Any

_MAGNIFICATION = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*[xX]\b")
_NA = re.compile(r"(?:[nN][aA]\s*=?\s*(\d\.\d+)|(\d\.\d+)\s*[nN][aA]|[xX]\s*/\s*(\d\.\d+))")
_BAND = re.compile(r"(?<!\d)(\d{3}(?:\.\d)?)\s*[/-]\s*(\d{1,3})(?!\d)")
_LONG_PASS = re.compile(r"(?<!\d)(\d{3})\s*(?:DCLP|LP|DCXR|DC|RDC|LPXR)\b", re.IGNORECASE)
_LINE = re.compile(r"(?<!\d)(\d{3,4})\s*nm", re.IGNORECASE)
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
EMPTY = re.compile(r"(?:state|objective|position|pos|filter)?[-_ ]?\d*|empty|none|closed|open|blank", re.IGNORECASE)
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
    bands = [(float(c) - float(w) / 2, float(c) + float(w) / 2) for c, w in _BAND.findall(label)]
    if not bands:
        return {}
    return {"type": "BandPass" if len(bands) == 1 else "MultiPass", "bands_nm": bands}


def dichroic(label: str) -> dict[str, Any]:
    """Keys of a dichroic: the edge of a long-pass."""
    match = _LONG_PASS.search(label)
    return {"type": "LongPass", "cut_on_nm": float(match[1])} if match else {}


def line(label: str) -> dict[str, Any]:
    """Keys of a light: its wavelength."""
    match = _LINE.search(label)
    return {"wavelength_nm": float(match[1])} if match else {}
