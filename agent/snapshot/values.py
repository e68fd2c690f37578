"""Profile values and device properties turned into captured values."""

from __future__ import annotations

import math
import re

from agent.contract.record import Captured, Scalar
from agent.snapshot.devices import State
from agent.snapshot.parts import Keys, Live, Part

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def number(text: str) -> float | None:
    """The first number in a property's text such as `200 MHz`, None without one or when it is not finite."""
    match = _NUMBER.search(text)
    value = float(match[0]) if match else math.nan
    return value if math.isfinite(value) else None


def scalar(text: str) -> str | float | int:
    """A property's text as a number when it is nothing but a number."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return text
    value = float(match[0])
    return int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value


def attributes(entry: Keys, device: str, state: State) -> dict[str, Captured]:
    """The filled keys of a profile entry by their OME names; live ones read from `state`, missing ones left out."""
    found: dict[str, Captured] = {}
    for key, info in type(entry).model_fields.items():
        extra = info.json_schema_extra
        value = getattr(entry, key)
        if not isinstance(extra, dict) or "ome" not in extra or value is None or value == []:
            continue
        name, unit = str(extra["ome"]), extra["unit"]
        unit = unit if isinstance(unit, str) else None
        captured = _live(value, device, state, unit) if isinstance(value, Live) else _literal(value, unit)
        if captured is not None:
            found[name] = captured
    if isinstance(entry, Part):
        found |= {name: _literal(value, None) for name, value in entry.also.items() if name not in found}
    return found


def _literal(value: object, unit: str | None) -> Captured:
    if isinstance(value, list):
        return Captured(value=[edge for band in value for edge in band], unit=unit, source="profile")
    plain: Scalar = value if isinstance(value, str | int | float | bool) else str(value)
    return Captured(value=plain, unit=unit, source="profile")


def _live(wish: Live, device: str, state: State, unit: str | None) -> Captured | None:
    reading = state.get((wish.device or device, wish.prop))
    if reading is None or not reading.value.strip():
        return None
    value = scalar(reading.value)
    if unit is not None:
        # A key with a unit is a number; text around it, as in "200 MHz", is the vendor's.
        parsed = number(reading.value)
        if parsed is None:
            return None
        value = parsed
    if wish.scale != 1.0 and not isinstance(value, str):
        value = value * wish.scale
    return reading.captured(value, unit)


def same(one: Scalar, other: Scalar) -> bool:
    """Do two values say the same? Numbers to one part in ten thousand, text without case and outer blanks.

    A number that a writer rounded says the same, too: 12.35 and 12.3456; an NA of 0.6 and 0.55 are two.
    """
    left, right = _comparable(one), _comparable(other)
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-4, abs_tol=1e-9) or _rounded(left, right) or _rounded(right, left)
    return left == right


def _rounded(short: float, long: float) -> bool:
    """Is the first what the second is with fewer decimals, and nearly it?"""
    if not math.isclose(short, long, rel_tol=5e-3):
        return False
    text = f"{short:.12f}".rstrip("0")
    step = 10.0 ** -len(text.partition(".")[2])
    return abs(short - long) <= 0.5 * step * (1 + 1e-9)


def _comparable(value: Scalar) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        parsed = scalar(value)
        return float(parsed) if not isinstance(parsed, str) else value.strip().casefold()
    return value


def merged(
    stronger: dict[str, Captured], weaker: dict[str, Captured], what: str, conflicts: list[str]
) -> dict[str, Captured]:
    """Both in one; where they contradict each other the stronger value stays, with the other one named."""
    result = dict(stronger)
    for name, other in weaker.items():
        mine = stronger.get(name)
        if mine is None or mine.value is None:
            result[name] = other
        elif mine.unit == other.unit and not same(mine.value, other.value):
            said = f"{other.source} says {_words(other)}"
            result[name] = mine.model_copy(update={"conflict": said})
            conflicts.append(f"{what}: {name} is {_words(mine)} by {mine.source}, but {said}")
    return result


def _words(captured: Captured) -> str:
    return f"{captured.value} {captured.unit}" if captured.unit else f"{captured.value}"
