"""Which names below a watched folder count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.sources.settings import WatchSettings

DEFAULT_EXCLUDE = (
    ".*",
    "~*",
    "*~",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "*.tmp",
    "*.temp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.download",
    "*.swp",
    "*.lock",
    "Thumbs.db",
    "desktop.ini",
    "ehthumbs.db",
)
"""Names of hidden, temporary and housekeeping files and folders; compared without regard to case."""


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(fold(glob)) for glob in globs) or r"(?!)")


def fold(name: str) -> str:
    """One spelling for comparing: macOS stores decomposed letters, Windows and macOS forget the case."""
    return unicodedata.normalize("NFC", name).casefold()


class Names:
    """The include and exclude patterns of a folder, compiled once."""

    def __init__(self, settings: WatchSettings) -> None:
        exclude = (*DEFAULT_EXCLUDE, *settings.exclude)
        self._include_name = _pattern(glob for glob in settings.include if "/" not in glob)
        self._include_path = _pattern(glob for glob in settings.include if "/" in glob)
        self._exclude_name = _pattern(glob for glob in exclude if "/" not in glob)
        self._exclude_path = _pattern(glob for glob in exclude if "/" in glob)

    def folder(self, name: str, relative: str) -> bool:
        """True when the walk goes into a folder; `relative` is its POSIX path below the root."""
        return not (
            self._exclude_name.match(fold(name)) is not None or self._exclude_path.match(fold(relative)) is not None
        )

    def file(self, name: str, relative: str) -> bool:
        """True when a file counts."""
        return self.folder(name, relative) and (
            self._include_name.match(fold(name)) is not None or self._include_path.match(fold(relative)) is not None
        )

    def path(self, below: str) -> bool:
        """True when a file counts and so does every folder above it."""
        return self.folders(below.rpartition("/")[0]) and self.file(below.rpartition("/")[2], below)

    def folders(self, below: str) -> bool:
        """True when a folder counts and so does every folder above it; the root itself is empty text."""
        levels = below.split("/")
        return all(self.folder(name, "/".join(levels[: i + 1])) for i, name in enumerate(levels))
