"""Values as SQLite takes them: names that are no text are stored escaped and come back as they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent.acquisition import Acquisition
from agent.sources.spelling import restored, stored

MARK = "escaped:"
"""How a text begins that is not stored as it is."""
_MARKED = f'"{MARK}'


def encode(acquisition: Acquisition) -> str:
    """An acquisition as JSON."""
    try:
        text = msgspec.json.encode(acquisition).decode()
    except UnicodeEncodeError:
        text = _MARKED
    if _MARKED not in text:
        return text
    # Rare and slow: every text of it is spelled so that it can be told apart again.
    return json.dumps(_each_text(msgspec.to_builtins(acquisition), stored), ensure_ascii=False)


def decode(text: str) -> Acquisition:
    """The acquisition that was encoded; ValueError or msgspec.DecodeError for anything else."""
    if _MARKED not in text:
        return msgspec.json.decode(text, type=Acquisition)
    return msgspec.convert(_each_text(json.loads(text), restored), type=Acquisition)


class Spelled(str):
    """A text that is already as it is stored."""

    __slots__ = ()


def spelled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a statement."""
    return {
        name: stored(value) if isinstance(value, str) and not isinstance(value, Spelled) else value
        for name, value in values.items()
    }


def read(value: Any) -> Any:
    """A column's value."""
    return restored(value) if isinstance(value, str) else value


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _each_text(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(one, change) for one in value]
    return value
