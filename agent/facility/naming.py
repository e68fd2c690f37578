"""Names from outside: checked here, before they become a path."""

from __future__ import annotations

import os
import re

from agent.contract.ids import is_slug
from agent.contract.layout import MANIFEST, check_dataset_path, check_member
from agent.facility.refusal import Refusal

_DATE = re.compile(r"\d{4}/\d{2}/\d{2}")
_LEAF = re.compile(r"\d{6}_[A-Za-z0-9._-]*[A-Za-z0-9_-]")
_WINDOWS_BAD = re.compile(r'[<>:"|?*]')
_MAX_LEVEL = 255
_OURS = (MANIFEST, f".{MANIFEST}.draft")
"""Written into the folder by the commit: neither a file nor a folder of these names may be in its way."""


def check_dataset(path: str) -> str:
    """Return the dataset path, or raise Rejected: stricter than the contract where a level could be a device name."""
    parts = check_dataset_path(path).split("/")
    fits = is_slug(parts[0]) and is_slug(parts[1]) and _DATE.fullmatch("/".join(parts[2:5]))
    if not fits or not _LEAF.fullmatch(parts[5]):
        raise Refusal(f"not a dataset path: {path!r}: use site/instrument/YYYY/MM/DD/HHMMSS_name_id8")
    return path


def check_file(path: str, windows: bool = os.name == "nt") -> str:
    """Return the path of a file that may be uploaded into a dataset, or raise Rejected."""
    levels = check_member(path).split("/")
    if levels[0].lower() in _OURS:
        raise Refusal(f"{MANIFEST} is written by the facility: commit the dataset instead of uploading it")
    if any(len(level.encode("utf-8", "surrogatepass")) > _MAX_LEVEL for level in levels):
        raise Refusal("a level of the file path is longer than 255 bytes: use a shorter name")
    if windows and not all(_fits_windows(level) for level in levels):
        raise Refusal(f"this facility runs on Windows, which cannot store {path!r}: use another name")
    return path


def owner_of(dataset: str) -> str:
    """`site/instrument` that a dataset belongs to."""
    return "/".join(dataset.split("/")[:2])


def _fits_windows(level: str) -> bool:
    stem = re.sub(r"[^A-Za-z0-9]", "_", level.split(".")[0]) or "_"
    reserved = not is_slug(stem.lstrip("_") or "x")
    return not _WINDOWS_BAD.search(level) and level[-1] not in ". " and not (reserved and len(stem) <= 4)
