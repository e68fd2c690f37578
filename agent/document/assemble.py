"""Builds and seals the documents of an acquisition."""

from __future__ import annotations

import gzip
import hashlib
import heapq
import json
from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, TextIO

from agent.acquisition import Acquisition
from agent.contract.layout import CRATE, PREVIEW, RECORD
from agent.contract.record import FileEntry, Record
from agent.document import rembi
from agent.document.completeness import completeness
from agent.document.context import Context, Documents
from agent.document.embed import embedded, zarr_files
from agent.document.methods import methods
from agent.document.ome import file_uuid, sheet
from agent.document.planes_xml import from_dataset
from agent.document.preview import preview
from agent.document.record import build_record, record_with_files
from agent.document.rocrate import crate, with_files
from agent.snapshot import Snapshot


def build(context: Context, acquisition: Acquisition, snapshot: Snapshot) -> Documents:
    """All documents of an acquisition. Pure: the same input gives the same bytes; reads nothing else."""
    tiers = {**completeness(snapshot), "rembi": rembi.completeness(snapshot)}
    ome = sheet(context, acquisition, snapshot, tiers)
    text = _utf8(methods(acquisition, snapshot)).decode()
    additions, replacements = zarr_files(context, acquisition, snapshot, ome)
    return Documents(
        ome_xml=ome.write(file_uuid(acquisition, "metadata.companion.ome"), from_dataset),
        record=build_record(context, acquisition, snapshot, tiers),
        methods=text,
        device_state=_packed(snapshot),
        embedded=embedded(context, acquisition, ome),
        additions=additions,
        replacements=replacements,
        crate=crate(context, acquisition, snapshot, text),
    )


def _packed(snapshot: Snapshot) -> bytes:
    content = json.dumps(snapshot.device_state, ensure_ascii=False, separators=(",", ":"), default=str)
    return gzip.compress(_utf8(content), compresslevel=6, mtime=0)


def seal(draft: Record, unsealed: dict[str, Any], files: Iterable[FileEntry], folder: Path) -> dict[str, Path]:
    """acquisition.json, ro-crate-metadata.json and its page for people, now that the hashes of all files are known.

    Written into `folder`, by their names. `files` are sorted by their path and gone through several times: there may
    be a hundred thousand, and they are never all held. Raises OSError where the folder cannot be written.
    """
    made = {name: folder / name for name in (RECORD, CRATE, PREVIEW)}
    with _text(made[RECORD]) as out:
        record_with_files(out, draft, files)
    with made[RECORD].open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    own = FileEntry(path=RECORD, size=made[RECORD].stat().st_size, sha256=digest, role="record")
    with _text(made[CRATE]) as out:
        with_files(out, unsealed, lambda: heapq.merge(files, (own,), key=attrgetter("path")))
    methods = next(str(entity["description"]) for entity in unsealed["@graph"] if entity["@id"] == "./")
    with _text(made[PREVIEW]) as out:
        out.write(preview(draft, methods, chain(files, (own,))))
    return made


def _text(path: Path) -> TextIO:
    """File names and drivers hold halves of characters that UTF-8 cannot: no reason to lose an acquisition."""
    return path.open("w", encoding="utf-8", errors="replace", newline="\n")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
