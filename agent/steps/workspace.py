"""Documents between the moment they are made and the moment they are delivered: a folder an acquisition."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent import document
from agent.contract.layout import COMPANION, CRATE, DATA, DEVICE_STATE, METHODS, RECORD
from agent.contract.record import FileEntry, Record
from agent.delivery.reading import REPLACEMENT
from agent.document import Documents
from agent.errors import NoSpace, Retryable, ScopeAgentError

_INDEX = "index.json"
_SEALED = "sealed"


def write(folder: Path, documents: Documents) -> None:
    """Write all documents; the folder appears only when it is whole."""
    making = folder.with_name(folder.name + ".making")
    try:
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        _fill(making, documents)
        if folder.exists():
            shutil.rmtree(folder)
        making.replace(folder)
    except OSError as error:
        raise _refused(folder, error) from error


def _fill(folder: Path, documents: Documents) -> None:
    index: dict[str, dict[str, str]] = {"descriptions": {}, "additions": {}}
    _put(folder / COMPANION, documents.ome_xml)
    _put(folder / METHODS, documents.methods.encode())
    _put(folder / DEVICE_STATE, documents.device_state)
    _put(folder / RECORD, documents.record.model_dump_json().encode())
    _put(folder / CRATE, json.dumps(documents.crate).encode())
    kinds = {"description-": documents.embedded, REPLACEMENT: documents.replacements, "addition-": documents.additions}
    for prefix, bodies in kinds.items():
        listed = index["additions" if prefix == "addition-" else "descriptions"]
        for number, name in enumerate(sorted(bodies)):
            listed[name] = f"{prefix}{number}"
            _put(folder / listed[name], bodies[name])
    _put(folder / _INDEX, json.dumps(index).encode())


def _put(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def seal(folder: Path, files: Iterable[FileEntry]) -> dict[str, Path]:
    """Record, RO-Crate and its page, by their path in the dataset; `files` by path, gone through several times.

    They lie in the workspace until the next time: what was written is not worth keeping, for anything may change.
    """
    sealed = folder / _SEALED
    try:
        sealed.mkdir(exist_ok=True)
        return document.seal(*drafts(folder), files, sealed)
    except OSError as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: OSError) -> ScopeAgentError:
    kind = NoSpace if error.errno in (28, 122) else Retryable
    return kind(f"the documents cannot be written to {folder}: {error.strerror or error}")


def drafts(folder: Path) -> tuple[Record, dict[str, Any]]:
    """Record and RO-Crate as they were documented, their files still unknown."""
    crate: dict[str, Any] = json.loads((folder / CRATE).read_bytes())
    return Record.model_validate_json((folder / RECORD).read_bytes()), crate


def descriptions(folder: Path) -> dict[str, Path]:
    """What is put into data files on the way out, by their name below `data/`."""
    return {name: folder / file for name, file in _index(folder)["descriptions"].items()}


def documents(folder: Path) -> dict[str, Path]:
    """Files that are delivered beside the data, by their path in the dataset."""
    additions = {f"{DATA}/{name}": folder / file for name, file in _index(folder)["additions"].items()}
    return additions | {name: folder / name for name in (COMPANION, METHODS, DEVICE_STATE)}


def forget(folder: Path) -> None:
    """The dataset is verified: its documents are at the facility."""
    shutil.rmtree(folder, ignore_errors=True)


def _index(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return found
