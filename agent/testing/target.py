"""A target in memory, and the suite that every target must pass."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from agent.contract.layout import RECORD
from agent.contract.manifest import parse
from agent.contract.manifest import render as render_manifest
from agent.delivery.port import Held, Outgoing, Target
from agent.errors import Mismatch, Rejected, Retryable, ScopeAgentError, Unreachable

DATASET = "lab/scope/2026/01/02/030405_suite_0badcafe"


class MemoryTarget:
    """Keeps committed datasets in a dictionary. `fail_next` raises it once, then works again."""

    name = "memory"
    at_once = 1 << 20

    def __init__(self) -> None:
        self.committed: dict[str, dict[str, bytes]] = {}
        self.fail_next: ScopeAgentError | None = None
        self.abandoned: list[str] = []
        self._staged: dict[str, dict[str, bytes]] = {}
        self._manifests: dict[str, bytes] = {}

    def check(self) -> None:
        self._maybe_fail()

    def doubts(self) -> list[str]:
        return []

    def send(self, dataset: str, file: Outgoing) -> str:
        self._maybe_fail()
        body = b"".join(file.blocks(0))
        if len(body) != file.size:
            raise Unreachable(f"{len(body)} of {file.size} bytes arrived: send again")
        if dataset in self.committed:
            return _sha256(self._of(dataset, file.target))
        self._staged.setdefault(dataset, {})[file.target] = body
        return _sha256(body)

    def commit(self, dataset: str, manifest: bytes) -> Held:
        self._maybe_fail()
        if self._manifests.get(dataset) == manifest:
            return self.held(dataset)
        staged, listed = self._staged.get(dataset, {}), parse(manifest)
        found = {path: _sha256(body) for path, body in staged.items()}
        missing = tuple(sorted(set(listed) - set(found)))
        different = tuple(sorted(path for path in set(listed) & set(found) if listed[path] != found[path]))
        if not missing and not different:
            self.committed[dataset] = {path: staged[path] for path in listed}
            self._manifests[dataset] = manifest
        return Held(found, missing, different)

    def held(self, dataset: str) -> Held:
        self._maybe_fail()
        if dataset not in self.committed:
            raise Rejected(f"there is no dataset {dataset}")
        return Held({path: _sha256(body) for path, body in self.committed[dataset].items()})

    def record(self, dataset: str, name: str = RECORD) -> bytes | None:
        self._maybe_fail()
        return self.committed.get(dataset, {}).get(name)

    def abandon(self, upload: str) -> None:
        self._maybe_fail()
        self.abandoned.append(upload)

    def close(self) -> None:
        """Nothing to give back."""

    def _of(self, dataset: str, path: str) -> bytes:
        if path not in self.committed[dataset]:
            raise Mismatch(f"{dataset} exists without {path}")
        return self.committed[dataset][path]

    def _maybe_fail(self) -> None:
        error, self.fail_next = self.fail_next, None
        if error is not None:
            raise error


def outgoing(path: str, body: bytes, block: int = 1024) -> Outgoing:
    """A file of these bytes, in blocks of `block` bytes."""
    return Outgoing(path, len(body), lambda offset: (body[at : at + block] for at in range(offset, len(body), block)))


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _manifest(files: dict[str, bytes]) -> bytes:
    return render_manifest({path: _sha256(body) for path, body in files.items()})


def sends_what_it_was_given(target: Target, dataset: str) -> None:
    """`send` returns the hash of what the far side holds, also for an empty file, also when sent again."""
    for body in (b"", b"x", bytes(range(256)) * 5000):
        for _ in range(2):
            assert target.send(dataset, outgoing("data/a.bin", body)) == _sha256(body)


def commits_only_what_is_whole(target: Target, dataset: str) -> None:
    """A missing or different file is named, nothing becomes visible; then the whole dataset does."""
    files = {"data/a.bin": b"a" * 3000, "acquisition.json": b"{}"}
    target.send(dataset, outgoing("data/a.bin", b"wrong"))
    answer = target.commit(dataset, _manifest(files))
    assert answer.missing == ("acquisition.json",)
    assert answer.different == ("data/a.bin",)
    assert target.record(dataset) is None
    try:
        target.held(dataset)
    except Rejected:
        pass
    else:
        raise AssertionError("a dataset that is not whole is visible")
    for path, body in files.items():
        target.send(dataset, outgoing(path, body))
    committed = target.commit(dataset, _manifest(files))
    assert not committed.missing
    assert not committed.different
    assert dict(target.held(dataset).files) == {path: _sha256(body) for path, body in files.items()}
    assert target.record(dataset) == b"{}"
    assert target.record(dataset, "methods.txt") is None
    assert target.record(dataset, "data/a.bin") == b"a" * 3000


def committing_again_changes_nothing(target: Target, dataset: str) -> None:
    """The same content again is a no-op; other content for a committed dataset is refused."""
    files = {"data/a.bin": b"a"}
    for _ in range(2):
        assert target.send(dataset, outgoing("data/a.bin", b"a")) == _sha256(b"a")
        assert not target.commit(dataset, _manifest(files)).missing
    try:
        refused = target.send(dataset, outgoing("data/b.bin", b"b")) != _sha256(b"b")
    except ScopeAgentError:
        refused = True
    assert refused
    try:
        other = target.send(dataset, outgoing("data/a.bin", b"other"))
    except ScopeAgentError:
        other = _sha256(b"a")
    assert other == _sha256(b"a"), "a committed file was replaced"
    assert set(target.held(dataset).files) == {"data/a.bin"}
    assert target.held(dataset).files["data/a.bin"] == _sha256(b"a")


def takes_any_name(target: Target, dataset: str) -> None:
    """Names with what URLs, forms and shells find special."""
    names = ("data/a b+c%20d&e=f?g#h.tif", "data/\u00b5m \u540d \u00e9.tif", 'data/it\'s "so".tif', "data/x/.zattrs")
    files = {name: name.encode() for name in names}
    for path, body in files.items():
        assert target.send(dataset, outgoing(path, body)) == _sha256(body), path
    held = target.commit(dataset, _manifest(files))
    assert not held.missing
    assert not held.different
    assert dict(target.held(dataset).files) == {path: _sha256(body) for path, body in files.items()}


def says_what_it_doubts(target: Target, dataset: str) -> None:
    """`check` returns, `doubts` are lines, and nothing is known of a dataset that is not there."""
    target.check()
    assert all(isinstance(doubt, str) and doubt for doubt in target.doubts())
    assert target.record(dataset) is None


def ends_what_is_given_up(target: Target, dataset: str) -> None:
    """An upload that was begun and is abandoned leaves nothing that the next try would stumble over."""
    body = bytes(range(256)) * 60_000
    begun: list[str] = []

    def cut(offset: int) -> Iterator[bytes]:
        yield body[offset : offset + 6_000_000]
        yield body[offset + 6_000_000 : offset + 8_000_000]
        raise Unreachable("cut")

    for _ in range(2):
        try:
            target.send(dataset, Outgoing("data/a.bin", len(body), cut, on_upload=begun.append))
        except Unreachable:
            pass
        else:
            raise AssertionError("half a file was taken for the whole")
        if begun:
            target.abandon(begun[-1])
            target.abandon(begun[-1])
    whole = outgoing("data/a.bin", body, 1 << 20)
    assert _soon(lambda: target.send(dataset, whole)) == _sha256(body)


def goes_on_after_a_cut(target: Target, dataset: str) -> None:
    """From where it was told to resume, with a source that changed meanwhile: never a mixture."""
    old, new = b"o" * 12_000_000, b"n" * 12_000_000
    upload: list[str] = []

    def cut(offset: int) -> Iterator[bytes]:
        for at in range(offset, 11_000_000, 1 << 20):
            yield old[at : at + (1 << 20)]
        raise Unreachable("cut")

    with suppress(Unreachable):
        target.send(dataset, Outgoing("data/a.bin", len(old), cut, on_upload=upload.append))
    again = outgoing("data/a.bin", new, 1 << 20)
    again.upload = upload[-1] if upload else None
    mixed = _soon(lambda: target.send(dataset, again))
    if mixed != _sha256(new):
        # A target may resume blindly when it then says what it holds: the worker sends it anew.
        if again.upload is not None:
            target.abandon(again.upload)
        assert target.send(dataset, outgoing("data/a.bin", new, 1 << 20)) == _sha256(new)


def _soon(send: Callable[[], str]) -> str:
    """A server may need a moment to notice that a connection was cut."""
    for _ in range(40):
        try:
            return send()
        except Retryable:
            time.sleep(0.25)
    return send()


SUITE: tuple[Callable[[Target, str], None], ...] = (
    sends_what_it_was_given,
    commits_only_what_is_whole,
    committing_again_changes_nothing,
    takes_any_name,
    says_what_it_doubts,
    ends_what_is_given_up,
    goes_on_after_a_cut,
)
"""Every target, real or fake, passes each of these with a dataset that the far side does not know."""
