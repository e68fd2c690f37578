"""Target `folder`: a mounted share or UNC path.

{path}/.scope-agent/{dataset}/...         what has arrived
{path}/.scope-agent/.parts/{dataset}/...  large files until they are whole and on the disk, by the hash of their name: a
                                          source file may have any name
{path}/{dataset}/...                      appears by one rename, the manifest in it
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from agent.contract.layout import MANIFEST, RECORD, STAGED, check_dataset_path, check_member
from agent.contract.manifest import parse
from agent.delivery.ahead import ahead, beside
from agent.delivery.disk import forget, sync_all, sync_folder, write_all
from agent.delivery.port import Held, Outgoing, SmallFile
from agent.delivery.seen import Seen
from agent.delivery.settings import FolderSettings
from agent.delivery.small_files import SmallFiles
from agent.delivery.window import WINDOW, written
from agent.errors import Misconfigured, Mismatch, NoSpace, Rejected, Retryable, Unreachable
from agent.sources.longpaths import plain, reaching

_STAGING = ".scope-agent"
_PARTS = ".parts"
_SMALL = 1 << 20
"""Files up to this size are brought to the disk and read back together."""
_MANY = 16
"""From so many files on, one call brings them all to the disk."""
_READERS = 8
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class FolderTarget:
    """See Target. Everything is read back from the folder before its dataset is committed; a large file already
    while it is written, unless settings say otherwise.
    """

    name = "folder"
    at_once = 16 << 20

    def __init__(self, settings: FolderSettings, *, used: bool = False) -> None:
        """`used`: datasets were delivered there, so that it cannot be empty unless its share is away."""
        self._root = Path(reaching(str(settings.path)))
        self._used = used
        self._read_back = settings.read_back
        self._seen = Seen()
        """What was on the disk as it was sent, until its dataset is committed."""
        self._small = SmallFiles(self._root, self._make_room, self._settled)

    def check(self) -> None:
        with self._translated():
            self._present()
            probe = self._root / _STAGING / "probe"
            made = not probe.parent.exists()
            probe.parent.mkdir(exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
            if made:
                probe.parent.rmdir()

    def doubts(self) -> list[str]:
        return ["whoever can write to a folder can also delete from it: restrict who can"]

    def send(self, dataset: str, file: Outgoing) -> str:
        check_dataset_path(dataset), check_member(file.target)
        with self._translated():
            final = self._root / dataset
            if (final / MANIFEST).exists():
                return self._committed(final, file.target)
            path = str(self._staged(dataset) / file.target)
            # Files and folders are on the disk before the dataset appears; what is lost until then is sent again.
            if file.size <= _SMALL:
                return self._send_small(path, file)
            self._make_room(path)
            part = self._part(dataset, file.target)
            self._make_room(str(part))
            digest = self._write(part, file)
            part.replace(path)
            self._settled(path, Path(path).stat(), digest)
            return digest

    def _send_small(self, path: str, file: Outgoing) -> str:
        body = b"".join(file.blocks(0))
        if len(body) != file.size:
            raise Retryable(f"{len(body)} of {file.size} bytes of {file.target} were read: reading it again")
        digest = file.digest() if file.digest is not None else hashlib.sha256(body).hexdigest()
        self._small.write([(path, body, digest)])
        return digest

    def take(self, dataset: str, files: Sequence[SmallFile]) -> bool:
        """See TakesMany."""
        check_dataset_path(dataset)
        for file in files:
            check_member(file.target)
        with self._translated():
            if (self._root / dataset / MANIFEST).exists():
                return False
            staged = f"{self._staged(dataset)}{os.sep}"
            self._small.write([(staged + path.replace("/", os.sep), body, digest) for path, body, digest in files])
            return True

    def commit(self, dataset: str, manifest: bytes) -> Held:
        listed = parse(manifest)
        with self._translated():
            self._present()
            final = self._root / check_dataset_path(dataset)
            if (final / MANIFEST).exists():
                return _compared(listed, self._hashes(final, listed))
            staged = self._staged(dataset)
            self._small.finish()
            held = _compared(listed, self._hashes(staged, listed, durably=True))
            if held.missing or held.different:
                return held
            self._publish(dataset, manifest, [name for name in held.files if name not in listed], listed)
            below = f"{staged}{os.sep}"
            self._seen.forget(below + path.replace("/", os.sep) for path in listed)
            return held

    def held(self, dataset: str) -> Held:
        with self._translated():
            final = self._root / check_dataset_path(dataset)
            self._present()
            if not (final / MANIFEST).exists():
                raise Rejected(f"{self._shown} has no dataset {dataset}")
            listed = parse((final / MANIFEST).read_bytes())
            return _compared(listed, self._hashes(final, listed))

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        with self._translated():
            final = self._root / check_dataset_path(dataset)
            return (final / name).read_bytes() if (final / MANIFEST).exists() and (final / name).exists() else None

    def abandon(self, upload: str) -> None:
        """Nothing is resumed by a name of its own; what was gathered of a dataset is all there is to remove."""
        dataset = upload.removeprefix(STAGED)
        if dataset == upload:
            return
        with self._translated():
            self._present()
            staged = self._staged(dataset)
            if staged.exists():
                shutil.rmtree(staged)
            self._tidy(staged.parent)
            self._forget_parts(dataset)

    def close(self) -> None:
        self._small.close()

    def _present(self) -> None:
        """A share that is away must not be mistaken for an empty folder on the local disk."""
        if not self._root.is_dir():
            raise Unreachable(f"the folder {self._shown} is away: mount it, the agent keeps the data")
        if self._used and next(iter(self._root.iterdir()), None) is None:
            raise Unreachable(
                f"the folder {self._shown} is empty, though datasets went there: mount its share, the agent keeps the "
                "data (if it was emptied on purpose, put any file into it)"
            )

    @property
    def _shown(self) -> str:
        """As people write it."""
        return plain(str(self._root))

    def _make_room(self, path: str) -> None:
        self._present()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._used = True

    def _settled(self, path: str, status: os.stat_result, digest: str) -> None:
        self._seen.note(path, status, digest)

    def _staged(self, dataset: str) -> Path:
        return self._root / _STAGING / check_dataset_path(dataset)

    def _part(self, dataset: str, target: str) -> Path:
        """Where a file is written until it is whole; the same at each try."""
        name = hashlib.sha256(target.encode(errors="surrogatepass")).hexdigest()
        return self._root / _STAGING / _PARTS / dataset / name

    def _committed(self, final: Path, target: str) -> str:
        path = final / target
        if not path.is_file():
            raise Mismatch(f"{final} exists without {target}: it is another acquisition's")
        return _sha256(path)

    def _write(self, part: Path, file: Outgoing) -> str:
        """Write what is not there yet; the hash of what was sent, which is what a second look found there."""
        own = hashlib.sha256()
        reading = ahead(file.blocks(0), 2) if file.size > WINDOW else beside(file.blocks(0))
        with (
            part.open("r+b" if part.exists() else "w+b", buffering=0) as out,
            reading as blocks,
            written(out, part, look_back=self._read_back) as window,
        ):
            same = True
            for block in blocks:
                # A part of an earlier try is compared, never trusted by its size.
                same = same and out.read(len(block)) == block
                if not same:
                    out.seek(window.at)
                    write_all(out, block)
                if file.digest is None:
                    own.update(block)
                window.add(block)
            out.truncate(window.at)
        if window.at != file.size:
            raise Retryable(f"{window.at} of {file.size} bytes of {file.target} were written: writing it again")
        return file.digest() if file.digest is not None else own.hexdigest()

    def _hashes(self, folder: Path, listed: Mapping[str, str], *, durably: bool = False) -> dict[str, str]:
        """By path in the folder; what was read back when it was sent and has not changed is not read a third time."""
        found: dict[str, str] = {}
        left: list[Path] = []
        for name, path in _files(folder):
            known = self._seen.digest(path, os.stat(path))  # noqa: PTH116 - tens of thousands of small files
            if known is None:
                left.append(Path(path))
            else:
                # The same text as in the manifest, not a hundred thousand of the same.
                found[name] = known if listed.get(name) != known else listed[name]
        digest = _sha256
        if durably:
            digest = _looked_up if len(left) >= _MANY and sync_all(folder) else _on_disk
        with ThreadPoolExecutor(_READERS, "scope-agent-read-back") as pool:
            names = (path.relative_to(folder).as_posix() for path in left)
            return found | dict(zip(names, pool.map(digest, left), strict=True))

    def _publish(self, dataset: str, manifest: bytes, left_over: list[str], listed: Iterable[str]) -> None:
        staged, final = self._staged(dataset), self._root / dataset
        for name in left_over:
            (staged / name).unlink()
        draft = self._part(dataset, MANIFEST)
        draft.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as out:
            out.write(manifest)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(staged / MANIFEST)
        for folder in _folders(listed):
            sync_folder(staged / folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            raise Mismatch(f"{final} is in the way and has no manifest: move it away")
        staged.rename(final)
        sync_folder(final.parent)
        self._tidy(staged.parent)
        self._forget_parts(dataset)

    def _forget_parts(self, dataset: str) -> None:
        parts = self._root / _STAGING / _PARTS / dataset
        shutil.rmtree(parts, ignore_errors=True)
        self._tidy(parts.parent)

    def _tidy(self, folder: Path) -> None:
        """Empty folders go, but the uppermost stays: whoever takes the datasets away leaves no empty share."""
        with suppress(OSError):
            while folder != self._root / _STAGING:
                folder.rmdir()
                folder = folder.parent

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace(f"{self._shown} is full: make room there, the agent keeps the data") from error
            if isinstance(error, PermissionError) and self._root.is_dir():
                raise Misconfigured(f"{self._shown} cannot be written ({error}): check the rights") from error
            raise Unreachable(f"{self._shown} fails: {error}") from error


def _on_disk(path: Path) -> str:
    """The hash of what is on the disk. What cannot be brought there is removed: the next try would hear no error."""
    with path.open("rb+", buffering=0) as file:
        try:
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        forget(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looked_up(path: Path) -> str:
    """The hash of what is on the disk, where it is already."""
    with path.open("rb", buffering=0) as file:
        forget(file.fileno())
        return hashlib.sha256(file.readall()).hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Name in the folder (with `/`) and path of all but the manifest."""
    skip = len(str(folder)) + 1
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - tens of thousands of small files
            inside = path[skip:].replace(os.sep, "/")
            if inside != MANIFEST:
                yield inside, path


def _folders(names: Iterable[str]) -> set[PurePosixPath]:
    """Every folder that these files lie in, at any depth."""
    nearest = {PurePosixPath(folder) for folder in {name.rpartition("/")[0] for name in names}}
    return nearest.union(*(folder.parents for folder in nearest))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compared(listed: dict[str, str], found: dict[str, str]) -> Held:
    missing = tuple(sorted(path for path in listed if path not in found))
    different = tuple(sorted(path for path in listed if path in found and listed[path] != found[path]))
    return Held(found, missing, different)
