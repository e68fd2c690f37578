"""A file that changed after the facility had committed it, and before we heard that it had."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from agent.acquisition import State
from agent.errors import Unreachable
from tests.unit.steps.test_steps import Bench, bench, image  # noqa: F401


@pytest.mark.parametrize("times_restored", [True, False])
def test_both_versions_are_datasets_of_their_own(bench: Bench, times_restored: bool) -> None:  # noqa: F811
    """A rewrite of one acquisition that was committed: nothing is overwritten, nothing is tried for ever."""
    path = image(bench.watched / "a.tif")
    first = path.read_bytes()
    plain = bench.target.commit

    def lost(dataset: str, manifest: bytes):
        plain(dataset, manifest)
        if len(bench.target.committed) > 1:
            return plain(dataset, manifest)
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"new!")
        if times_restored:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        raise Unreachable("the answer is lost")

    bench.target.commit = lost
    bench.see(path)
    bench.turn(60)
    held = [json.loads(dataset["acquisition.json"]) for dataset in bench.target.committed.values()]
    told = {next(file["source_sha256"] for file in record["files"] if file["role"] == "data") for record in held}
    assert told == {hashlib.sha256(body).hexdigest() for body in (first, path.read_bytes())}
    assert {run.state for run in bench.all()} == {State.VERIFIED}
    assert {run.id for run in bench.all()} == {record["id"] for record in held}
    assert bench.outbox.check() == []
    late = next(run for run in bench.all() if any("earlier version" in note for note in run.notes))
    assert bench.events(late)[0] == "started"
    assert bench.events(late)[-1] == "verified"
