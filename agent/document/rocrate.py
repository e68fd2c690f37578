"""RO-Crate 1.1 metadata: instrument as product, acquisition as action, files with their hashes."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TextIO

from agent.acquisition import Acquisition
from agent.clock import iso
from agent.contract.layout import COMPANION, CRATE, DEVICE_STATE, PREVIEW, RECORD
from agent.contract.record import Captured, Component, FileEntry
from agent.document.context import Context
from agent.document.listing import flat, indented, write_object
from agent.document.quality import actions
from agent.snapshot import Snapshot

_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_SHA256 = "https://schema.org/sha256"
_TYPES = {
    COMPANION: "application/xml",
    RECORD: "application/json",
    DEVICE_STATE: "application/gzip",
}
_ACTION = {"completed": "Completed", "canceled": "Failed", "errored": "Failed", "aborted": "Failed"}
_URL = re.compile(r"https?://\S+")
_NO_LICENCE = "#no-licence-stated"


def crate(context: Context, acquisition: Acquisition, snapshot: Snapshot, methods: str) -> dict[str, Any]:
    """The crate without its files; a plain JSON-LD document."""
    instrument = _instrument(context, snapshot)
    software = _software(snapshot, context)
    people = _people(snapshot)
    quality = actions(snapshot, instrument[0]["@id"])
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": acquisition.name,
        "identifier": acquisition.id,
        "description": methods,
        "datePublished": iso(acquisition.finished_ns or acquisition.started_ns),
        "license": {"@id": _NO_LICENCE},
        "hasPart": [],
        "mentions": _mentions(quality),
    }
    descriptor = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    licence = {
        "@id": _NO_LICENCE,
        "@type": "CreativeWork",
        "name": "No licence stated",
        "description": "The instrument does not know under which terms these data may be used.",
    }
    action = _action(acquisition, snapshot, instrument[0]["@id"], software, people)
    page = {"@id": PREVIEW, "@type": "CreativeWork", "name": "This dataset for people", "about": {"@id": "./"}}
    graph = [descriptor, page, root, licence, action, *instrument, *software, *people, *quality]
    return {"@context": [_CONTEXT, {"sha256": _SHA256}], "@graph": graph}


def _mentions(quality: list[dict[str, Any]]) -> dict[str, str] | list[dict[str, str]]:
    done = [{"@id": entity["@id"]} for entity in quality if entity["@type"] == "CreateAction"]
    return [{"@id": "#acquisition"}, *done] if done else {"@id": "#acquisition"}


def with_files(out: TextIO, unsealed: dict[str, Any], files: Callable[[], Iterable[FileEntry]]) -> None:
    """Write the crate with every file as a part of the dataset and as result of the acquisition where it is data.

    `files` gives them by path, each time anew.
    """
    out.write(f'{{\n "@context": {indented(unsealed["@context"], 1)},\n "@graph": [')
    for number, entity in enumerate(unsealed["@graph"]):
        out.write(f"{',' if number else ''}\n  ")
        write_object(out, entity, _lists(entity["@id"], files), 2)
    out.writelines(f",\n  {flat(_file(entry), 2)}" for entry in files())
    out.write("\n ]\n}\n")


def _lists(identifier: str, files: Callable[[], Iterable[FileEntry]]) -> dict[str, Iterator[str]]:
    """What an entity of the graph has as lists of files."""
    if identifier == "./":
        return {"hasPart": (_named(_uri(entry.path)) for entry in files())}
    if identifier == "#acquisition":
        data = (_named(_uri(entry.path)) for entry in files() if entry.role == "data")
        first = next(data, None)
        return {"result": chain([_named("./") if first is None else first], data)}
    return {}


def _named(identifier: str) -> str:
    """A reference in a list of an entity of the graph."""
    return flat({"@id": identifier}, 4)


def _file(entry: FileEntry) -> dict[str, Any]:
    leaf = entry.path.rpartition("/")[2]
    if leaf.lower().endswith((".ome.tif", ".ome.tiff", ".tif", ".tiff")):
        kind: str | None = "image/tiff"
    else:
        kind = _TYPES.get(entry.path) or mimetypes.guess_type(leaf)[0]
    return {
        "@id": _uri(entry.path),
        "@type": "File",
        "name": leaf,
        "contentSize": str(entry.size),
        "sha256": entry.sha256,
        **({"encodingFormat": kind} if kind else {}),
    }


def _uri(path: str) -> str:
    """A file path as an identifier: RO-Crate wants spaces and the like percent-encoded."""
    from urllib.parse import quote

    return quote(path, safe="/~!$&'()*+,;=:@-._")


def _instrument(context: Context, snapshot: Snapshot) -> list[dict[str, Any]]:
    stand = snapshot.microscope
    pid = _text(stand.get("PersistentIdentifier"))
    used = [component for component in snapshot.components if component.id in snapshot.in_use]
    makers = dict.fromkeys(
        maker
        for maker in (_text(values.get("Manufacturer")) for values in [stand, *(c.attributes for c in used)])
        if maker
    )
    parts = [_product(f"#{c.id}", c.attributes, _about(c)) for c in used]
    name = _text(stand.get("Name")) or context.instrument
    product = _product(pid if pid and _URL.fullmatch(pid) else "#instrument", stand, {"name": name})
    if parts:
        product["hasPart"] = [{"@id": part["@id"]} for part in parts]
    return [product, *parts, *({"@id": _maker(m), "@type": "Organization", "name": m} for m in makers)]


def _about(component: Component) -> dict[str, Any]:
    model = _text(component.attributes.get("Model"))
    return {"name": model or component.label or component.device or component.id, "category": component.kind}


def _product(identifier: str, values: dict[str, Captured], about: dict[str, Any]) -> dict[str, Any]:
    keys = {"model": "Model", "serialNumber": "SerialNumber", "identifier": "PersistentIdentifier"}
    found = {key: _text(values.get(name)) for key, name in keys.items()}
    # schema.org's number of the manufacturer's catalogue.
    found["mpn"] = _text(values.get("CatalogNumber"))
    maker = _text(values.get("Manufacturer"))
    return {
        "@id": identifier,
        "@type": "IndividualProduct",
        **about,
        **{key: value for key, value in found.items() if value},
        **({"manufacturer": {"@id": _maker(maker)}} if maker else {}),
    }


def _maker(name: str) -> str:
    return "#" + re.sub(r"[^A-Za-z0-9]+", "-", f"maker-{name}").strip("-").lower()


def _software(snapshot: Snapshot, context: Context) -> list[dict[str, Any]]:
    wanted = ("pymmcore-plus", "MMCore", "ome-writers", "Micro-Manager")
    versions = {name: snapshot.software[name] for name in wanted if snapshot.software.get(name)}
    versions["scope-agent"] = context.agent_version
    return [
        {
            "@id": f"#software-{name}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version,
            "version": version,
        }
        for name, version in versions.items()
    ]


def _people(snapshot: Snapshot) -> list[dict[str, Any]]:
    user = _text(snapshot.session.user)
    return [{"@id": "#operator", "@type": "Person", "name": user}] if user else []


def _action(
    acquisition: Acquisition,
    snapshot: Snapshot,
    instrument: str,
    software: Sequence[dict[str, Any]],
    people: list[dict[str, Any]],
) -> dict[str, Any]:
    status = _ACTION.get(acquisition.reason.value)
    tools = [s["@id"] for s in software if s["name"] != "scope-agent"]
    return {
        "@id": "#acquisition",
        "@type": "CreateAction",
        "name": f"Acquisition of {acquisition.name}",
        **_times(acquisition, snapshot),
        **({"agent": {"@id": people[0]["@id"]}} if people else {}),
        "instrument": [{"@id": one} for one in (instrument, *tools)],
        "result": [{"@id": "./"}],
        **({"actionStatus": {"@id": f"http://schema.org/{status}ActionStatus"}} if status else {}),
    }


def _times(acquisition: Acquisition, snapshot: Snapshot) -> dict[str, str]:
    """When it began and ended; when files were seen says neither."""
    if snapshot.acquired_at is None:
        return {}
    hooked = bool(snapshot.device_state) and acquisition.finished_ns is not None
    return {"startTime": snapshot.acquired_at} | ({"endTime": iso(acquisition.finished_ns or 0)} if hooked else {})


def _text(captured: Captured | None) -> str:
    return "" if captured is None or captured.value is None else str(captured.value).strip()
