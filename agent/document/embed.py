"""Which copies of the OME-XML go into the data: into TIFF files, beside the arrays of OME-Zarr."""

from __future__ import annotations

import json
import logging
import posixpath
from typing import Any

from agent.acquisition import Acquisition
from agent.document.context import Context
from agent.document.ome import Sheet, file_uuid
from agent.document.planes_xml import beside
from agent.snapshot import Snapshot

_log = logging.getLogger(__name__)
BUDGET = 64 << 20
"""Bytes of OME-XML that all TIFF files of an acquisition may get together."""
OWN_KEY = "scope_agent"
_TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")
_ZARR_ROOTS = ("zarr.json", ".zattrs", ".zgroup")
_OME_GROUP = "OME"
_OME_FILE = "METADATA.ome.xml"


def embedded(context: Context, acquisition: Acquisition, sheet: Sheet) -> dict[str, bytes]:
    """OME-XML for each TIFF file whose planes are addressed: all images with the planes of its own.

    Sets that would need more than BUDGET bytes get their own images only; where even that is too much, or a
    companion file of the acquisition software speaks for the set, the files stay as they are.
    """
    names = [file.name for file in acquisition.files]
    if not context.settings.embeds(acquisition.format) or any(name.endswith(".companion.ome") for name in names):
        return {}
    homes: dict[str, set[int]] = {}
    for number, image in enumerate(sheet.images):
        for block in image.blocks:
            if block.file in names and block.file.lower().endswith(_TIFF):
                homes.setdefault(block.file, set()).add(number)
    planes = sum(sum(len(sheet.planes[n]) for n in own) for own in homes.values())
    if len(homes) * sheet.size + planes <= BUDGET or len(homes) == 1:
        only: dict[str, set[int] | None] = dict.fromkeys(homes)
    elif planes + _own_size(sheet, homes) <= 4 * BUDGET and sheet.self_contained:
        only = dict(homes)
    else:
        _log.info("%s: its OME-XML stays beside the data, %d copies of it are too much", acquisition.name, len(homes))
        return {}
    return {
        name: sheet.write(_uuid(acquisition, sheet, name), beside(name), only[name], own, name)
        for name, own in homes.items()
    }


def _own_size(sheet: Sheet, homes: dict[str, set[int]]) -> int:
    each = sum(len(sheet.pieces[n][0]) + len(sheet.images[n].blocks) * 180 for own in homes.values() for n in own)
    return each + len(homes) * (len(sheet.head) + len(sheet.tail))


def _uuid(acquisition: Acquisition, sheet: Sheet, name: str) -> str:
    return sheet.uuids.get(name) or file_uuid(acquisition, name)


def zarr_files(
    context: Context, acquisition: Acquisition, snapshot: Snapshot, sheet: Sheet
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """(additions, replacements) of an OME-Zarr dataset: OME/METADATA.ome.xml, and our key in the root's JSON.

    A root whose JSON was not read, or is none, is delivered as it is.
    """
    root = _zarr_root(acquisition)
    if root is None or not context.settings.embeds(acquisition.format):
        return {}, {}
    names = {file.name for file in acquisition.files}
    target = posixpath.join(root, _OME_GROUP, _OME_FILE)
    content = sheet.write(file_uuid(acquisition, target), None)
    additions: dict[str, bytes] = {}
    replacements: dict[str, bytes] = {}
    (replacements if target in names else additions)[target] = content
    version3 = posixpath.join(root, "zarr.json") in names
    group = posixpath.join(root, _OME_GROUP, "zarr.json" if version3 else ".zgroup")
    if group not in names:
        # A folder without a group file is not a node of the hierarchy and makes readers warn.
        node: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        additions[group] = _json(node if version3 else {"zarr_format": 2})
    place = posixpath.join(root, "zarr.json" if version3 else ".zattrs")
    text = snapshot.texts.get(place, b"" if place in names else b"{}")
    attributes = _with_own_key(text, version3, _summary(context, acquisition, snapshot))
    if attributes is not None:
        (replacements if place in names else additions)[place] = attributes
    return additions, replacements


def _zarr_root(acquisition: Acquisition) -> str | None:
    """Dataset-relative folder of the outermost Zarr group; None when there is none."""
    if acquisition.format != "ome-zarr":
        return None
    folders = [
        posixpath.dirname(file.name) for file in acquisition.files if posixpath.basename(file.name) in _ZARR_ROOTS
    ]
    return min(folders, key=lambda folder: (folder.count("/"), len(folder)), default=None)


def _with_own_key(text: bytes, version3: bool, summary: dict[str, Any]) -> bytes | None:
    try:
        content: dict[str, Any] = json.loads(text)
        holder = content.setdefault("attributes", {}) if version3 else content
        holder[OWN_KEY] = summary
    except (ValueError, TypeError, AttributeError):
        return None
    return _json(content)


def _summary(context: Context, acquisition: Acquisition, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "version": 1,
        "acquisition": acquisition.id,
        "site": context.site,
        "instrument": context.instrument,
        "record": "acquisition.json",
        "ome_xml": f"{_OME_GROUP}/{_OME_FILE}",
        "microscope": {name: value.value for name, value in snapshot.microscope.items()},
        "channels": [channel.name for channel in snapshot.channels],
    }


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode()
