"""Complete files of datasets that are not committed yet: `{root}/{dataset}/files/...` and `received.jsonl`.

The ledger saves hashing twice; a file that is not as the ledger says is hashed again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.contract.layout import MANIFEST
from agent.facility.durable import disk_full_told, move, sha256_of, sync_folder, write_atomic
from agent.facility.refusal import Conflict
from agent.facility.storage import Upload

_FILES = "files"
_LEDGER = "received.jsonl"


class Staging:
    """The datasets that are being received. The caller holds the dataset's lock."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def put(self, upload: Upload, part: Path) -> None:
        """Move a complete file in, over an earlier one of the same path. Raises Conflict, NoSpace."""
        target = self._files(upload.dataset) / upload.path
        with disk_full_told():
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                move(part, target)
            except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                raise Conflict(f"{upload.path!r} is a folder and a file at once: deliver the dataset again") from error
            stat = target.stat()
            line = {
                "path": upload.path,
                "sha256": upload.sha256,
                "size": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "upload": upload.id,
            }
            self._note(upload.dataset, line)

    def holds(self, dataset: str) -> bool:
        return self._files(dataset).is_dir()

    def hashes(self, dataset: str) -> dict[str, str]:
        """`{path: sha256}` of what lies here now."""
        known = {line["path"]: line for line in self._lines(dataset)}
        found = {}
        for path, file in walk(self._files(dataset)):
            line, stat = known.get(path, {}), file.stat()
            trusted = (line.get("size"), line.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
            if not trusted:
                line = {"path": path, "sha256": sha256_of(file), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
                # Whoever asks again, because this took long, is answered at once.
                self._note(dataset, line)
            found[path] = line["sha256"]
        return found

    def publish(self, dataset: str, manifest: bytes, unlisted: Iterable[str], target: Path, root: Path) -> None:
        """Make the dataset appear at `target` below `root` by one rename, manifest and all."""
        files = self._files(dataset)
        with disk_full_told():
            for path in unlisted:
                (files / path).unlink()
            write_atomic(files / MANIFEST, manifest)
            for folder, _, _ in os.walk(files, topdown=False):
                sync_folder(Path(folder))
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                move(files, target)
            except OSError as error:
                if target.exists():
                    raise Conflict(f"a folder without a manifest is in the way of {dataset}: remove it") from error
                raise
            for parent in target.parents:
                sync_folder(parent)
                if parent == root:
                    break

    def uploads(self, dataset: str) -> set[str]:
        """Ids of the uploads that brought the files."""
        return {line["upload"] for line in self._lines(dataset) if "upload" in line}

    def clear(self, dataset: str) -> None:
        """Remove what is left of a dataset here, and the empty folders above it."""
        folder = self._folder(dataset)
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents:
            if parent == self._root:
                return
            try:
                parent.rmdir()
            except OSError:
                return

    def older_than(self, limit_ns: int) -> Iterator[str]:
        """Datasets that no file arrived for since `limit_ns`."""
        for ledger in list(self._root.glob(f"*/*/*/*/*/*/{_LEDGER}")):
            if ledger.stat().st_mtime_ns < limit_ns:
                yield ledger.parent.relative_to(self._root).as_posix()

    def _note(self, dataset: str, line: dict[str, Any]) -> None:
        with (self._folder(dataset) / _LEDGER).open("ab") as ledger:
            ledger.write(json.dumps(line).encode() + b"\n")

    def _lines(self, dataset: str) -> list[dict[str, Any]]:
        try:
            text = (self._folder(dataset) / _LEDGER).read_bytes()
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # The line a power cut left half-written: its file is hashed again.
        return found

    def _folder(self, dataset: str) -> Path:
        return self._root / dataset

    def _files(self, dataset: str) -> Path:
        return self._folder(dataset) / _FILES


def walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `root` with its POSIX path."""
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder) / name
            yield file.relative_to(root).as_posix(), file
