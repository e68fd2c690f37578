"""Builds and seals the documents of an acquisition."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

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
from agent.document.record import build_record
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


def seal(draft: Record, unsealed: dict[str, Any], files: Sequence[FileEntry]) -> dict[str, bytes]:
    """acquisition.json, ro-crate-metadata.json and its page for people, now that the hashes of all files are known."""
    listed = sorted(files, key=lambda file: file.path)
    record = draft.model_copy(update={"files": listed})
    content = _json(record.model_dump(mode="json"))
    own = FileEntry(path=RECORD, size=len(content), sha256=hashlib.sha256(content).hexdigest(), role="record")
    whole = with_files(unsealed, [*listed, own])
    methods = next(str(entity["description"]) for entity in unsealed["@graph"] if entity["@id"] == "./")
    page = preview(record, methods, [*listed, own])
    return {RECORD: content, CRATE: _json(whole), PREVIEW: _utf8(page)}


def _json(content: dict[str, Any]) -> bytes:
    """Encoded as it is written: of 100,000 files the pieces alone would be hundreds of megabytes."""
    written = io.BytesIO()
    text = io.TextIOWrapper(written, encoding="utf-8", errors="replace", newline="\n")
    json.dump(content, text, indent=1, ensure_ascii=False)
    text.write("\n")
    text.detach()
    return written.getvalue()


def _utf8(text: str) -> bytes:
    """File names and drivers hold halves of characters that UTF-8 cannot: no reason to lose an acquisition."""
    return text.encode("utf-8", "replace")
