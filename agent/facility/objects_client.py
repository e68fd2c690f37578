"""The few calls to an object store that are needed, with its errors translated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.errors import Misconfigured, NoSpace, Unreachable
from agent.facility.refusal import Conflict, Unknown
from agent.facility.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_BLOCK = 4 << 20
_PART = 16 << 20
_COPY_MAX = 5 * 10**9
"""S3 copies no more than this in one call."""


class Objects:
    """Objects by key. Safe from several threads. Raises Unreachable where the store does not answer or refuses."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get(self, key: str) -> bytes:
        """All bytes. Raises Unknown."""
        import obstore

        with _told(key):
            return bytes(obstore.get(self._store, key).bytes())

    def blocks(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes from `start` up to `end`. Raises Unknown."""
        import obstore

        for at in range(start, end, _BLOCK):
            with _told(key):
                block = bytes(obstore.get_range(self._store, key, start=at, end=min(at + _BLOCK, end)))
            yield block

    def size(self, key: str) -> int | None:
        """Length in bytes; None where there is no such object."""
        found = self._head(key)
        return int(found["size"]) if found else None

    def touched_ns(self, key: str) -> int:
        """When the object was made (UTC ns); 0 where there is none."""
        found = self._head(key)
        return int(found["last_modified"].timestamp() * 1e9) if found else 0

    def put(self, key: str, data: bytes, *, over: bool = False) -> None:
        """Make an object. Raises Conflict where there is one already, unless it is to be written `over`."""
        import obstore

        with _told(key):
            obstore.put(self._store, key, data, mode="overwrite" if over else "create", use_multipart=False)

    def put_blocks(self, key: str, blocks: Iterator[bytes]) -> None:
        """Make an object of any size, over what is there."""
        import obstore

        # Not `put` with an iterator: blocks that come from the store itself cannot be waited for inside of it.
        with _told(key), obstore.open_writer(self._store, key, buffer_size=_PART) as writer:
            for block in blocks:
                writer.write(block)

    def copy(self, source: str, target: str, size: int) -> None:
        """Over what is at `target`. Raises Unknown."""
        import obstore

        if size > _COPY_MAX:
            self.put_blocks(target, self.blocks(source, 0, size))
            return
        with _told(source):
            obstore.copy(self._store, source, target, overwrite=True)

    def listed(self, prefix: str) -> Iterator[tuple[str, int, int]]:
        """Key, size and time (UTC ns) of everything below a prefix that ends in `/`, or of everything."""
        import obstore

        with _told(prefix):
            for batch in obstore.list(self._store, prefix.rstrip("/") or None):
                for found in batch:
                    yield str(found["path"]), int(found["size"]), int(found["last_modified"].timestamp() * 1e9)

    def delete(self, keys: list[str]) -> None:
        """Remove objects; one that is not there counts as removed."""
        import obstore

        for key in keys:
            try:
                with _told(key):
                    obstore.delete(self._store, key)
            except Unknown:
                continue

    def _head(self, key: str) -> Any | None:
        import obstore

        try:
            with _told(key):
                return obstore.head(self._store, key)
        except Unknown:
            return None


def connect(settings: Settings) -> ObjectStore:
    """The store that `settings.store` names. Raises Misconfigured."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, S3Store
    except ImportError as error:
        raise Misconfigured("an object store needs obstore: pip install 'scope-agent[facility,s3]'") from error
    url = urlsplit(settings.store or "")
    try:
        if url.scheme == "file":
            return LocalStore(url.path, mkdir=True)
        if url.scheme == "s3" and url.netloc:
            return S3Store(url.netloc, prefix=url.path.strip("/") or None, **_s3(settings))
    except (BaseError, ValueError) as error:
        raise Misconfigured(f"store {settings.store!r} cannot be used: {error}".splitlines()[0]) from error
    raise Misconfigured(f"store {settings.store!r} is not known: use a folder, s3://bucket/prefix or file:///folder")


def _s3(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.s3_endpoint:
        options |= {"endpoint": settings.s3_endpoint, "virtual_hosted_style_request": False}
        options["client_options"] = {"allow_http": settings.s3_endpoint.startswith("http://")}
    options["retry_config"] = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
    options["region"] = settings.s3_region or "us-east-1"
    if settings.s3_credentials_file:
        try:
            lines = settings.s3_credentials_file.read_text(encoding="utf-8").split()
        except OSError as error:
            raise Misconfigured(f"{settings.s3_credentials_file} cannot be read: {error.strerror}") from error
        if len(lines) != 2:
            raise Misconfigured(f"{settings.s3_credentials_file}: write the key in one line, the secret in the next")
        options |= {"access_key_id": lines[0], "secret_access_key": lines[1]}
    return options


@contextmanager
def _told(key: str) -> Iterator[None]:
    from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError

    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise Unknown(f"no such object: {key}") from None
    except (AlreadyExistsError, PreconditionError):
        raise Conflict(f"{key} is there already") from None
    except (BaseError, OSError) as error:
        text = str(error)
        if "No space left" in text or "StorageFull" in text or "QuotaExceeded" in text:
            raise NoSpace("the facility's store is full: free space there, the agent keeps the data") from error
        raise Unreachable(f"the store does not serve {key}: {text.splitlines()[0][:200]}") from error
