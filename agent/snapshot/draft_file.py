"""The draft of a profile from what a vendor's file says of its instrument."""

from __future__ import annotations

import posixpath
from typing import Any

from pydantic import ValidationError

from agent.contract.record import Captured, Component
from agent.formats.port import Metadata
from agent.snapshot.draft import Draft, Maker
from agent.snapshot.filed import read_files
from agent.snapshot.hardware import LIGHTS
from agent.snapshot.parts import Detector, Dichroic, Filter, Light, Microscope, Objective, Part

_MODELS: dict[str, type[Part]] = {
    "microscope": Microscope, "objective": Objective, "detector": Detector, "filter": Filter, "dichroic": Dichroic,
    "light": Light,
}  # fmt: skip
_UM = {"um": 1.0, "mm": 1e3, "nm": 1e-3}


def of_file(said: Metadata, name: str) -> Draft:
    """The draft of a file's metadata; parts are keyed by the names that the file uses, so that they are found again."""
    filed = read_files(said.ome, (posixpath.basename(name),))
    maker = Maker()
    stand = _keys("microscope", filed.microscope)
    maker.put(("microscope",), stand, f"stand as {name} tells" if stand else f"{name} says nothing of the stand")
    for component in filed.components:
        table = "light" if component.kind in LIGHTS else component.kind.lower()
        if table in _MODELS:
            path = (table, _name(component)) if table in ("detector", "light") else (table, table, _name(component))
            maker.put(path, _keys(table, component.attributes, component), f"{component.kind} of the file")
    return maker.draft()


def _name(component: Component) -> str:
    """The name by which the file's part is matched to the profile's."""
    return component.label or component.id


def _keys(table: str, values: dict[str, Captured], component: Component | None = None) -> dict[str, Any]:
    model = _MODELS[table]
    keys: dict[str, Any] = {"role": "other"} if table == "filter" else {}
    if component is not None and table == "light":
        keys["source"] = component.kind
    names = {
        str(extra["ome"]): (key, extra["unit"])
        for key, info in model.model_fields.items()
        if isinstance(extra := info.json_schema_extra, dict) and "ome" in extra
    }
    for name, captured in values.items():
        key, unit = names.get(name, (None, None))
        value = _in_unit(captured, unit)
        if key is not None and value is not None and _fits(model, {**keys, key: value}):
            keys[key] = value
    if table == "filter" and {"cut_on_nm", "cut_off_nm"} <= keys.keys():
        keys["bands_nm"] = [(keys.pop("cut_on_nm"), keys.pop("cut_off_nm"))]
    return keys


def _in_unit(captured: Captured, unit: Any) -> Any:
    value = float(f"{captured.value:.12g}") if isinstance(captured.value, float) else captured.value
    if unit == "um" and isinstance(value, int | float) and not isinstance(value, bool):
        factor = _UM.get(captured.unit or "um")
        return None if factor is None else float(f"{value * factor:.12g}")
    return value


def _fits(model: type[Part], keys: dict[str, Any]) -> bool:
    try:
        model.model_validate(keys)
    except ValidationError:
        return False
    return True
