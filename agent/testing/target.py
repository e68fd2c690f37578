"""A target in memory, and the suite that every target must pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from agent.contract.manifest import parse
from agent.contract.manifest import render as render_manifest
from agent.delivery.port import Held, Outgoing, Target
from agent.errors import Mismatch, Rejected, ScopeAgentError, Unreachable

DATASET = "lab/scope/2026/01/02/030405_suite_0badcafe"


class MemoryTarget:
    """Keeps committed datasets in a dictionary. `fail_next` raises it once, then works again."""

    name = "memory"

    def __init__(self) -> None:
        self.committed: dict[str, dict[str, bytes]] = {}
        self.fail_next: ScopeAgentError | None = None
        self._staged: dict[str, dict[str, bytes]] = {}
        self._manifests: dict[str, bytes] = {}

    def check(self) -> None:
        self._maybe_fail()

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


def outgoing(path: str, body: bytes) -> Outgoing:
    """A file of these bytes, in blocks of a kilobyte."""
    return Outgoing(path, len(body), lambda offset: (body[at : at + 1024] for at in range(offset, len(body), 1024)))


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _manifest(files: dict[str, bytes]) -> bytes:
    return render_manifest({path: _sha256(body) for path, body in files.items()})


def sends_what_it_was_given(target: Target) -> None:
    """`send` returns the hash of what the far side holds, also for an empty file, also when sent again."""
    for body in (b"", b"x", bytes(range(256)) * 5000):
        for _ in range(2):
            assert target.send(DATASET, outgoing("data/a.bin", body)) == _sha256(body)


def commits_only_what_is_whole(target: Target) -> None:
    """A missing or different file is named, nothing becomes visible; then the whole dataset does."""
    files = {"data/a.bin": b"a" * 3000, "acquisition.json": b"{}"}
    target.send(DATASET, outgoing("data/a.bin", b"wrong"))
    answer = target.commit(DATASET, _manifest(files))
    assert answer.missing == ("acquisition.json",)
    assert answer.different == ("data/a.bin",)
    try:
        target.held(DATASET)
    except Rejected:
        pass
    else:
        raise AssertionError("a dataset that is not whole is visible")
    for path, body in files.items():
        target.send(DATASET, outgoing(path, body))
    committed = target.commit(DATASET, _manifest(files))
    assert not committed.missing
    assert not committed.different
    assert dict(target.held(DATASET).files) == {path: _sha256(body) for path, body in files.items()}


def committing_again_changes_nothing(target: Target) -> None:
    """The same content again is a no-op; other content for a committed dataset is refused."""
    files = {"data/a.bin": b"a"}
    for _ in range(2):
        assert target.send(DATASET, outgoing("data/a.bin", b"a")) == _sha256(b"a")
        assert not target.commit(DATASET, _manifest(files)).missing
    try:
        refused = target.send(DATASET, outgoing("data/b.bin", b"b")) != _sha256(b"b")
    except ScopeAgentError:
        refused = True
    assert refused
    assert set(target.held(DATASET).files) == {"data/a.bin"}


SUITE: tuple[Callable[[Target], None], ...] = (
    sends_what_it_was_given,
    commits_only_what_is_whole,
    committing_again_changes_nothing,
)
"""Every target, real or fake, passes each of these on an empty far side."""
