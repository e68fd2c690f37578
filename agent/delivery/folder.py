"""Target `folder`: a mounted share or UNC path.

{path}/.scope-agent/{dataset}/...    what arrives; `x.scope-agent-part` until it is whole and on the disk
{path}/{dataset}/...                 appears by one rename, the manifest in it
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agent.contract.layout import MANIFEST, RECORD, check_dataset_path, check_member
from agent.contract.manifest import parse
from agent.delivery.ahead import ahead, beside
from agent.delivery.port import Held, Outgoing
from agent.delivery.settings import FolderSettings
from agent.errors import Misconfigured, Mismatch, NoSpace, Rejected, Retryable, Unreachable

_STAGING = ".scope-agent"
_PART = ".scope-agent-part"
_BLOCK = 1 << 20
_SMALL = 8 << 20
_FLUSH = 64 << 20
"""So many bytes are written, brought to the disk and read back, while the next are written."""
_READERS = 8
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class FolderTarget:
    """See Target. Everything is read back from the folder before its dataset is committed; a large file already
    while it is written, unless settings say otherwise.
    """

    name = "folder"

    def __init__(self, settings: FolderSettings) -> None:
        self._root = settings.path
        self._read_back = settings.read_back
        self._sent: dict[tuple[str, str], tuple[int, int, str]] = {}

    def check(self) -> None:
        with self._translated():
            self._present()
            probe = self._root / _STAGING / "probe"
            probe.parent.mkdir(exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()

    def doubts(self) -> list[str]:
        return ["whoever can write to a folder can also delete from it: restrict who can"]

    def send(self, dataset: str, file: Outgoing) -> str:
        check_dataset_path(dataset), check_member(file.target)
        with self._translated():
            self._present()
            final = self._root / dataset
            if (final / MANIFEST).exists():
                return self._committed(final, file.target)
            target = self._staged(dataset) / file.target
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + _PART)
            # Files and folders are on the disk before the dataset appears; what is lost until then is sent again.
            if file.size <= _SMALL:
                digest = _write_small(part, file)
                part.replace(target)
                return digest
            digest = self._write(part, file)
            part.replace(target)
            status = target.stat()
            self._sent[dataset, file.target] = (status.st_size, status.st_mtime_ns, digest)
            return digest

    def commit(self, dataset: str, manifest: bytes) -> Held:
        listed = parse(manifest)
        with self._translated():
            self._present()
            final = self._root / check_dataset_path(dataset)
            if (final / MANIFEST).exists():
                return _compared(listed, self._hashes(final, dataset))
            staged = self._staged(dataset)
            held = _compared(listed, self._hashes(staged, dataset, to_disk=True))
            if held.missing or held.different:
                return held
            self._publish(staged, final, manifest, listed)
            for path in listed:
                self._sent.pop((dataset, path), None)
            return held

    def held(self, dataset: str) -> Held:
        with self._translated():
            final = self._root / check_dataset_path(dataset)
            self._present()
            if not (final / MANIFEST).exists():
                raise Rejected(f"{self._root} has no dataset {dataset}")
            return _compared(parse((final / MANIFEST).read_bytes()), self._hashes(final, None))

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        with self._translated():
            final = self._root / check_dataset_path(dataset)
            return (final / name).read_bytes() if (final / MANIFEST).exists() and (final / name).exists() else None

    def abandon(self, upload: str) -> None:
        """Nothing is resumed by a name of its own: a part is written over or cleared with its dataset."""

    def close(self) -> None:
        """Nothing is kept open."""

    def _present(self) -> None:
        """A share that is away must not be mistaken for an empty folder on the local disk."""
        if not self._root.is_dir():
            raise Unreachable(f"the folder {self._root} is away: mount it, the agent keeps the data")

    def _staged(self, dataset: str) -> Path:
        return self._root / _STAGING / check_dataset_path(dataset)

    def _committed(self, final: Path, target: str) -> str:
        path = final / target
        if not path.is_file():
            raise Mismatch(f"{final} exists without {target}: it is another acquisition's")
        return _sha256(path)

    def _write(self, part: Path, file: Outgoing) -> str:
        """Write what is not there yet; the hash of what a second look finds there."""
        back = _ReadBack(part) if self._read_back else None
        try:
            held, sent = self._write_through(part, file, back)
        finally:
            if back:
                back.close()
        if held != sent:
            part.unlink()
        return held

    def _write_through(self, part: Path, file: Outgoing, back: _ReadBack | None) -> tuple[str, str]:
        own = hashlib.sha256()
        reading = ahead(file.blocks(0), 2) if file.size > _SMALL else beside(file.blocks(0))
        with part.open("r+b" if part.exists() else "w+b", buffering=0) as out, reading as blocks:
            at = flushed = 0
            same = True
            for block in blocks:
                # A part of an earlier try is compared, never trusted by its size.
                same = same and out.read(len(block)) == block
                if not same:
                    out.seek(at)
                    _write_all(out, block)
                at += len(block)
                if file.digest is None:
                    own.update(block)
                if back and at - flushed >= _FLUSH:
                    _to_disk(out)
                    flushed = at
                    back.up_to(at)
            out.truncate(at)
            os.fsync(out.fileno())
            if back:
                _forget_cache(out)
        if at != file.size:
            raise Retryable(f"{at} of {file.size} bytes of {file.target} were written: writing it again")
        sent = file.digest() if file.digest is not None else own.hexdigest()
        return back.finish() if back else sent, sent

    def _hashes(self, folder: Path, dataset: str | None, *, to_disk: bool = False) -> dict[str, str]:
        """By path; what was read back when it was sent and has not changed is not read a third time."""

        def digest(path: Path) -> tuple[str, str]:
            name, status = path.relative_to(folder).as_posix(), path.stat()
            size, mtime_ns, known = self._sent.get((dataset or "", name), (-1, -1, ""))
            if (size, mtime_ns) == (status.st_size, status.st_mtime_ns):
                return name, known
            return name, _settled(path) if to_disk else _sha256(path)

        with ThreadPoolExecutor(_READERS, "scope-agent-read-back") as pool:
            return dict(pool.map(digest, _files(folder)))

    def _publish(self, staged: Path, final: Path, manifest: bytes, listed: dict[str, str]) -> None:
        for path in list(_files(staged)):
            if path.relative_to(staged).as_posix() not in listed:
                path.unlink()
        draft = staged / (MANIFEST + _PART)
        with draft.open("wb") as out:
            out.write(manifest)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(staged / MANIFEST)
        for folder, _, _ in os.walk(staged):
            sync_folder(Path(folder))
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            raise Mismatch(f"{final} is in the way and has no manifest: move it away")
        staged.rename(final)
        sync_folder(final.parent)
        with suppress(OSError):
            os.removedirs(staged.parent)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace(f"{self._root} is full: make room there, the agent keeps the data") from error
            if isinstance(error, PermissionError) and self._root.is_dir():
                raise Misconfigured(f"{self._root} cannot be written ({error}): check the rights") from error
            raise Unreachable(f"{self._root} fails: {error}") from error


class _ReadBack:
    """Hashes a file from the disk behind its writer, in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._at = 0
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def up_to(self, end: int) -> None:
        """Bytes before `end` are on the disk and will not change."""
        self._wait()
        self._pool = self._pool or ThreadPoolExecutor(1, "scope-agent-read-back")
        self._last = self._pool.submit(self._read, end)

    def finish(self) -> str:
        """The hash of all of it, the last bytes included."""
        self._wait()
        self._read(None)
        return self._digest.hexdigest()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def _read(self, end: int | None) -> None:
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._at)
            while block := file.read(_BLOCK if end is None else min(_BLOCK, end - self._at)):
                self._digest.update(block)
                self._at += len(block)


def _write_small(part: Path, file: Outgoing) -> str:
    """At once, and on its way to the disk; it is there, and read back, before its dataset is committed."""
    pieces = list(file.blocks(0))
    if sum(map(len, pieces)) != file.size:
        raise Retryable(f"{sum(map(len, pieces))} of {file.size} bytes of {file.target} were read: reading it again")
    with part.open("wb", buffering=0) as out:
        for piece in pieces:
            _write_all(out, piece)
        _forget_cache(out)
    if file.digest is not None:
        return file.digest()
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _settled(path: Path) -> str:
    """The hash of what is on the disk. What cannot be brought there is removed: the next try would hear no error."""
    with path.open("rb+", buffering=0) as file:
        try:
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        _forget_cache(file)
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; Windows journals them itself, and some shares know no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _to_disk(out: BinaryIO) -> None:
    if sys.platform == "linux":
        os.fdatasync(out.fileno())
        _forget_cache(out)
    else:
        os.fsync(out.fileno())


def _forget_cache(out: BinaryIO) -> None:
    """So that reading back asks the disk or the server, not our own memory; what is not there yet goes there."""
    if sys.platform == "linux":
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _write_all(out: BinaryIO, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[out.write(view) :]


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if not name.endswith(_PART) and path != folder / MANIFEST:
                yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compared(listed: dict[str, str], found: dict[str, str]) -> Held:
    missing = tuple(sorted(listed.keys() - found.keys()))
    different = tuple(sorted(path for path in listed.keys() & found.keys() if listed[path] != found[path]))
    return Held(found, missing, different)
