"""The Target port: somewhere that datasets are delivered to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from agent.contract.layout import RECORD


@dataclass(slots=True)
class Outgoing:
    """A file on its way: opened once, read once."""

    target: str
    """Path inside the dataset."""
    size: int
    """Bytes to deliver, annotation included."""
    blocks: Callable[[int], Iterator[bytes]]
    """The delivered bytes from an offset on, in blocks of at most 16 MiB."""
    upload: str | None = None
    """Where an earlier try may be resumed."""
    on_upload: Callable[[str], None] = field(default=lambda _: None)
    """Called with the place to resume at before the first byte goes out, and whenever it changes."""
    digest: Callable[[], str] | None = None
    """SHA-256 (hex) of the delivered bytes, once `blocks` has handed out the last."""
    so_far: Callable[[], str] | None = None
    """SHA-256 (hex) of all delivered bytes up to the end of what `blocks` has handed out, those before its offset
    too; where it costs nothing.
    """


@dataclass(frozen=True, slots=True)
class Held:
    """What the far side holds of a dataset, by its own reading."""

    files: Mapping[str, str]
    """SHA-256 (hex) by path."""
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()


@runtime_checkable
class Begins(Protocol):
    """A target to which one thread can have several small files on their way."""

    def begin(self, dataset: str, path: str, body: bytes, sha256: str) -> Callable[[], bool]:
        """Send a file and return before the far side has answered. Raises what `Target.send` raises.

        What it returns must be called. It waits for the answer: True when the far side holds these very bytes, by
        its own check; False when there is more to say than that, which `Target.send` of the same file finds out.
        """
        ...


class SmallFile(NamedTuple):
    """A file that is held whole."""

    target: str
    """Path inside the dataset."""
    body: bytes
    sha256: str
    """Of `body`, hex."""


@runtime_checkable
class TakesMany(Protocol):
    """A target to which many small files go at once: one by one, saying so would cost as much as sending them."""

    def take(self, dataset: str, files: Sequence[SmallFile]) -> bool:
        """Send files as `Target.send` does each, by several threads. Raises what it raises: some may have arrived then.

        False when there is more to say than that, which `Target.send` of each file finds out.
        """
        ...


class Target(Protocol):
    """A place for datasets. `send` may be called by several threads at once; every call may be repeated.

    All methods raise Unreachable or NoSpace when the same call may succeed later, Rejected when it cannot,
    Misconfigured when credentials or address are wrong; never a foreign error.
    """

    name: str
    at_once: int
    """Files up to this size (bytes) go in one piece each: nothing is gained by reading them piece by piece, and many
    pieces of memory cost more than one, for the system clears each that it gives.
    """

    def check(self) -> None:
        """Return when the target answers and accepts our credentials."""
        ...

    def doubts(self) -> list[str]:
        """What this target does not guarantee and a human should know, one line each; may probe it."""
        ...

    def send(self, dataset: str, file: Outgoing) -> str:
        """Deliver one file, resuming where it can; returns the SHA-256 (hex) of what the far side holds.

        The same file again is sent again or recognised, with the same end. Invisible until `commit`.
        """
        ...

    def commit(self, dataset: str, manifest: bytes) -> Held:
        """Make the dataset visible as a whole, manifest last. The same manifest again changes nothing.

        Returns what the far side holds; it is committed only when nothing is missing or different.
        """
        ...

    def held(self, dataset: str) -> Held:
        """Read a committed dataset again at the far side."""
        ...

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        """acquisition.json of a committed dataset, or another text of it; None while there is no such one."""
        ...

    def abandon(self, upload: str) -> None:
        """End an upload that nobody will resume, and remove its parts. One that is unknown is no error.

        STAGED and the path of a dataset: what is gathered of it until it is committed, which nobody will go on with.
        """
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
