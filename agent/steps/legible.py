"""What a format says, with file names that are no text in a spelling that XML and JSON take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from agent.formats.port import Dataset, Format, Metadata
from agent.sources.spelling import shown

T = TypeVar("T")


def metadata_of(form: Format, dataset: Dataset) -> Metadata:
    """What the format says of the dataset, as text that can be written down."""
    said = form.metadata(dataset)
    main = str(dataset.main)
    return said if shown(main) == main else _legible(said)


def _legible(said: Metadata) -> Metadata:
    """Each half character spelled out. Only for files whose names have some: it looks at every value."""
    return replace(
        said,
        ome=_clean(said.ome),
        software=_clean(said.software),
        not_carried_over=_clean(said.not_carried_over),
        errors=_clean(said.errors),
        notes=_clean(said.notes),
        texts=_clean(said.texts),
    )


def _clean(value: T) -> T:
    cleaned: Any = value
    if isinstance(value, str):
        cleaned = shown(value)
    elif isinstance(value, dict):
        cleaned = {_clean(key): _clean(one) for key, one in value.items()}
    elif isinstance(value, list):
        cleaned = [_clean(one) for one in value]
    elif isinstance(value, tuple):
        cleaned = tuple(_clean(one) for one in value)
    elif isinstance(value, BaseModel):
        for name in value.model_fields_set:
            before = getattr(value, name)
            after = _clean(before)
            if isinstance(before, str | list | dict | tuple) and after != before:
                setattr(value, name, after)
    result: T = cleaned
    return result
