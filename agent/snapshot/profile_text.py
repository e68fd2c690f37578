"""A profile as TOML, with remarks behind keys and with the keys that are still missing, commented out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from agent.snapshot.parts import Keys, Live
from agent.snapshot.profile import Profile

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Marginalia:
    """What stands beside the keys; places are dotted paths such as `objective.Turret.Nikon 10X`."""

    head: Sequence[str] = ()
    """Comment lines at the top."""
    remarks: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """By path of a key: where its value comes from."""
    wanted: Mapping[tuple[str, ...], Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By path of a table: keys that are missing, with what is to be said of them."""


def profile_text(profile: Profile, margin: Marginalia | None = None) -> str:
    """The profile as TOML that `load_profile` reads back to an equal one."""
    margin = margin or Marginalia()
    lines = [f"# {line}".rstrip() for line in margin.head]
    for name in type(profile).model_fields:
        lines += _tables((name,), getattr(profile, name), margin)
    return "\n".join(lines) + "\n"


def _tables(path: tuple[str, ...], value: Any, margin: Marginalia) -> Iterator[str]:
    """A model as a table; a dict of models as tables below; a dict of plain values as a table."""
    if isinstance(value, BaseModel):
        yield from _model(path, value, margin)
    elif value and all(isinstance(inner, BaseModel | dict) for inner in value.values()):
        for key, inner in value.items():
            yield from _tables((*path, key), inner, margin)
    elif value:
        yield from ["", _header(path), *(f"{_key(key)} = {_value(inner)}" for key, inner in value.items())]


def _model(path: tuple[str, ...], model: BaseModel, margin: Marginalia) -> Iterator[str]:
    own, below = [], []
    for key, info in type(model).model_fields.items():
        value = getattr(model, key)
        if value is None or value in ([], {}) or (value == info.default and key != "piezo"):
            continue
        if isinstance(value, dict) or (isinstance(value, Keys) and not isinstance(value, Live)):
            below.append((key, value))
        else:
            remark = margin.remarks.get((*path, key))
            own.append(f"{key} = {_value(value)}" + (f"  # {remark}" if remark else ""))
    wanted = [f"#{key} =   # {words}" for key, words in margin.wanted.get(path, ())]
    if own or wanted or len(path) > 1:
        yield from ["", _header(path), *own, *wanted]
    for key, value in below:
        yield from _tables((*path, key), value, margin)


def _header(path: tuple[str, ...]) -> str:
    return f"[{'.'.join(map(_key, path))}]"


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for the one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case int() | float():
            return repr(value)
        case Live():
            said = value.model_dump(exclude_defaults=True)
            return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in said.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return _quoted(str(value))
