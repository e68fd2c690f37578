"""Numbers of a profile that no instrument has: a slip of the pen would go into every record."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import BaseModel

_ANY_SIGN = frozenset(
    ["offset", "correction_collar", "temperature_c", "gain", "amplification_gain", "attenuation", "scale"]
)
_POSITIVE = frozenset(
    [
        "na", "magnification", "calibrated_magnification", "intermediate_magnification", "refractive_index",
        "pixel_width_um", "pixel_height_um", "wavelength_nm", "excitation_nm", "emission_nm",
    ]
)  # fmt: skip
_LARGEST_NA = 1.8
"""No lens sold has more; those of 1.7 use an immersion of index 1.78."""


def faults(model: BaseModel, path: str = "") -> Iterator[str]:
    """`table.device.key: what is wrong` for each number that cannot be, in the order of the file."""
    for name in type(model).model_fields:
        yield from _of_value(getattr(model, name), name, f"{path}{name}")
    yield from _of_objective(model, path)


def _of_value(value: object, name: str, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from faults(value, f"{path}.")
    elif isinstance(value, dict):
        for key, one in value.items():
            if isinstance(one, BaseModel | dict) or (isinstance(one, float) and not math.isfinite(one)):
                yield from _of_value(one, str(key), f"{path}.{key}")
    elif isinstance(value, list):
        yield from _of_bands(value, path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{path}: {value} is no number: leave the key out where it is not known"
        elif (value < 0 and name not in _ANY_SIGN) or (value == 0 and name in _POSITIVE):
            yield f"{path}: {value:g} cannot be: give a positive number, or leave the key out"


def _of_bands(bands: list[object], path: str) -> Iterator[str]:
    for band in bands:
        if isinstance(band, tuple) and len(band) == 2 and not 0 < band[0] < band[1] < math.inf:
            yield f"{path}: {list(band)} is no band: write [from, to] in nm, the shorter wavelength first"


def _of_objective(model: BaseModel, path: str) -> Iterator[str]:
    na = getattr(model, "na", None)
    if not isinstance(na, float):
        return
    if na > _LARGEST_NA:
        yield f"{path}na: {na:g} is more than any objective has"
    elif na >= 1 and getattr(model, "immersion", None) == "Air":
        yield f"{path}na: {na:g} is impossible in air: check na and immersion"
