"""A delivered dataset against its manifest, with our own eyes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from agent.contract.layout import MANIFEST
from agent.contract.manifest import parse
from agent.errors import Misconfigured


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
    present = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()} - {MANIFEST}
    different = [name for name in sorted(present & set(listed)) if _sha256(dataset / name) != listed[name]]
    missing = sorted(set(listed) - present)
    return {
        "verified": not missing and not different,
        "files": len(listed),
        "missing": missing,
        "different": different,
        "unlisted": sorted(present - set(listed)),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
