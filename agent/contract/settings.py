"""TOML to frozen settings; every mistake becomes one line that says where it is and what to write instead."""

from __future__ import annotations

import codecs
import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.errors import Misconfigured


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


Model = TypeVar("Model", bound=BaseModel)


def read_small(path: Path) -> str:
    """The text of a file that people write: UTF-8, or UTF-16 as PowerShell's `>` makes it. OSError, Misconfigured."""
    data = path.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} cannot be read as text: save it as UTF-8") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, or Misconfigured."""
    if path.is_dir():
        raise Misconfigured(f"{path} is a folder: name the file in it")
    text = ""
    try:
        text = read_small(path)
        return tomllib.loads(text)
    except FileNotFoundError:
        raise Misconfigured(f"{path} does not exist: name a file that does") from None
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not valid TOML: {error}{_slip(text, str(error))}") from error


def _slip(text: str, error: str) -> str:
    """What the line that TOML refuses most often lacks."""
    found = re.search(r"at line (\d+)", error)
    line = text.splitlines()[int(found[1]) - 1] if found and int(found[1]) <= len(text.splitlines()) else ""
    if '"' in line and "\\" in line:
        return ": write paths of Windows in single quotes, 'C:\\folder'"
    return ": text stands in quotes" if "Invalid value" in error else ""


def validate(model: type[Model], tables: dict[str, Any], where: str, context: Any = None) -> Model:
    """`tables` as a `model`, or Misconfigured that names the first bad key and the nearest known one."""
    try:
        return model.model_validate(tables, context=context)
    except ValidationError as error:
        # A misspelled key explains the missing one beside it.
        first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise Misconfigured(f"{where}: {_explain(model, first['loc'], first)}{more}") from None


def _explain(model: type[BaseModel], loc: Sequence[int | str], error: Any) -> str:
    key = ".".join(str(part) for part in loc) or "the file"
    if error["type"] == "extra_forbidden":
        names = _names(model, loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(names)) or 'none'}"
        return f"unknown key {key!r}: {hint}"
    if error["type"] in ("missing", "model_type", "dataclass_type"):
        table = _model_at(model, loc)
        if table is not None:
            needed = [f"{name} = ..." for name, field in table.model_fields.items() if field.is_required()]
            what = "is missing: add the table" if error["type"] == "missing" else "is a table: write"
            return f"{key!r} {what} [{key}]" + (f" and below it {', '.join(needed)}" if needed else "")
    if error["type"] == "missing":
        return f"{key!r} is missing: add it"
    if error["type"] == "url_parsing":
        return f"{key!r}: {error['input']!r} is no address: write it with http:// or https://, and the port behind it"
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{key!r}: {text[:1].lower()}{text[1:]}"


def _names(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Field names of the model that `loc` leads to."""
    found = _model_at(model, loc)
    return list(found.model_fields) if found else []


def _model_at(model: type[BaseModel] | None, loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that `loc` leads to."""
    for part in loc:
        if model is None:
            return None
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first settings class inside an annotation such as `tuple[Watch, ...]` or `Mqtt | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(inner) for inner in get_args(annotation))
    return next((model for model in found if model is not None), None)
