"""A delivered dataset against its manifest and its own record, with our own eyes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from agent.contract.layout import MANIFEST, RECORD
from agent.contract.manifest import parse
from agent.errors import Damaged, Misconfigured


def verify_folder(dataset: Path) -> dict[str, Any]:
    """`{verified, files, missing, different, unlisted}` of a dataset folder."""
    manifest = dataset / MANIFEST
    if dataset.is_file():
        raise Misconfigured(f"{dataset} is a file: name the folder of the dataset, which holds {MANIFEST}")
    if not manifest.is_file():
        within = next(iter(sorted(dataset.glob(f"*/{MANIFEST}"))), None)
        if within is not None:
            raise Misconfigured(f"{dataset} holds datasets: name one of them, such as verify {within.parent}")
        raise Misconfigured(f"{manifest} does not exist: the dataset is not whole, or this is no dataset")
    listed = parse(manifest.read_bytes())
    if RECORD not in listed:
        raise Damaged(f"{manifest} does not list {RECORD}: it was edited, deliver the dataset again")
    present = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()} - {MANIFEST}
    different = {name for name in present & set(listed) if _sha256(dataset / name) != listed[name]}
    missing = sorted(set(listed) - present)
    if RECORD in present - different:
        # A manifest is a text that anybody may edit; the record says the same once more.
        recorded = _recorded(dataset / RECORD)
        different |= {name for name, digest in recorded.items() if name not in missing and listed.get(name) != digest}
    return {
        "verified": not missing and not different,
        "files": len(listed),
        "missing": missing,
        "different": sorted(different),
        "unlisted": sorted(present - set(listed)),
    }


def _recorded(record: Path) -> dict[str, str]:
    """SHA-256 (hex) by path, as the record of a dataset says; nothing where it is another's format."""
    try:
        files = json.loads(record.read_bytes())["files"]
        return {file["path"]: file["sha256"] for file in files}
    except (ValueError, LookupError, TypeError):
        return {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
