"""For whom a document is written, and what it consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agent.contract.record import Record
from agent.document.settings import DocumentSettings


@dataclass(frozen=True, slots=True)
class Context:
    """The agent that writes: names of site and instrument as in paths and topics, version, configuration."""

    site: str
    instrument: str
    agent_version: str
    config_sha256: str
    settings: DocumentSettings = field(default_factory=DocumentSettings)


@dataclass(frozen=True, slots=True)
class Documents:
    """What is said about an acquisition; all names of data files are dataset-relative POSIX names."""

    ome_xml: bytes
    """metadata.companion.ome: complete OME-XML 2016-06."""
    record: Record
    """acquisition.json, its `files` still empty."""
    methods: str
    device_state: bytes
    """gzip of JSON; the same bytes each time."""
    embedded: dict[str, bytes]
    """OME-XML to put into TIFF files, by file name (annotate.plan)."""
    additions: dict[str, bytes]
    """Files to deliver beside the data, by name."""
    replacements: dict[str, bytes]
    """Small JSON and XML files of the dataset that are delivered with our part in them, by name."""
    crate: dict[str, Any]
    """RO-Crate without the files; `seal` adds them."""
