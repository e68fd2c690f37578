"""Every store behind the port does the same: a folder, a folder that replicas share, and a real S3 server."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from agent.contract.manifest import render
from agent.errors import Misconfigured
from agent.facility.app import open_storage
from agent.facility.refusal import Conflict, Unknown
from agent.facility.settings import Settings

from .rig import DATASET, Agent, Running, checksum, files, running, wait_for
from .stores import empty, postgresql, s3
from .test_facility_datasets import acquisitions, hashes

ODD = "data/ä b#c?%41.txt"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with s3(tmp_path_factory.mktemp("s3")) as said:
        yield said


@pytest.fixture(params=["folder", "shared", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of a facility with its datasets in each kind of store; empty."""
    if request.param == "folder":
        return {"store": str(tmp_path / "datasets")}
    if request.param == "shared":
        pytest.importorskip("obstore", reason="obstore is not installed: pip install 'scope-agent[s3]'")
        return {"store": f"file://{tmp_path / 'shared'}"}
    said = dict(request.getfixturevalue("far"))
    return {"store": f"s3://{said.pop('bucket')}/{tmp_path.name}"} | said


@pytest.fixture
def facility(store: dict[str, Any], tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "data", **store) as started:
        yield started


def get(facility: Running, path: str, **more: Any) -> httpx.Response:
    return httpx.get(facility.url + path, trust_env=False, timeout=30, **more)


def test_from_the_first_byte_to_the_download(facility: Running) -> None:
    agent = facility.agent()
    wanted = files() | {ODD: b"odd", "data/empty": b""}
    for path, body in list(wanted.items())[:-1]:
        assert agent.send(path, body).headers["Upload-Sha256"] == hashlib.sha256(body).hexdigest()
    refused = agent.commit(hashes(wanted))
    assert (refused.status_code, refused.json()["missing"]) == (409, ["data/empty"])
    assert get(facility, f"/files/{DATASET}/methods.txt").status_code == 404
    agent.send("data/empty", b"")
    done = agent.commit(hashes(wanted))
    assert (done.status_code, done.json()["files"]) == (200, hashes(wanted)), done.text
    for path, body in wanted.items():
        assert get(facility, f"/files/{DATASET}/{quote(path)}").content == body, path
    part = get(facility, f"/files/{DATASET}/methods.txt", headers={"Range": "bytes=7-10"})
    assert (part.status_code, part.content) == (206, wanted["methods.txt"][7:11])
    assert agent.http.get(f"/datasets/{DATASET}/verify").json()["verified"] is True
    assert [item["name"] for item in acquisitions(facility)] == ["cells"]
    # Committed: nothing is added, nothing changes.
    assert agent.commit(hashes(wanted)).status_code == 200
    assert agent.commit({"methods.txt": "0" * 64}).status_code == 409
    assert agent.send("late.txt", b"late").status_code == 409
    assert get(facility, f"/files/{DATASET}/late.txt").status_code == 404


def test_chunks_offsets_and_refusals(facility: Running) -> None:
    agent, body = facility.agent(), bytes(range(256)) * 40_000
    location = agent.create("data/big", len(body)).headers["Location"]
    assert agent.patch(location, 0, body[:4_000_000]).headers["Upload-Offset"] == "4000000"
    wrong = agent.patch(location, 4_000_000, body[4_000_000:5_000_000], check=checksum(b"other"))
    assert wrong.status_code == 460
    assert agent.head(location).headers["Upload-Offset"] == "4000000"
    assert agent.patch(location, 0, body[:100]).status_code == 409, "replayed"
    assert agent.patch(location, 4_000_000, body[:-1]).status_code == 413
    last = agent.patch(location, 4_000_000, body[4_000_000:])
    assert last.headers["Upload-Sha256"] == hashlib.sha256(body).hexdigest()
    assert agent.head(location).headers["Upload-Sha256"] == hashlib.sha256(body).hexdigest()
    assert agent.patch(location, 4_000_000, body[4_000_000:]).status_code == 409, "replayed"
    wanted = {"data/big": hashlib.sha256(body).hexdigest()}
    assert agent.commit(wanted).status_code == 200
    assert get(facility, f"/files/{DATASET}/data/big").content == body
    assert agent.head(location).status_code == 404


def test_a_file_is_replaced_until_the_commit_and_ended_when_asked(facility: Running) -> None:
    agent = facility.agent()
    agent.send("methods.txt", b"first")
    time.sleep(0.02)
    agent.send("methods.txt", b"second")
    agent.send("data/unlisted", b"x")
    gone = agent.create("data/gone", 5).headers["Location"]
    assert agent.http.delete(gone).status_code == 204
    assert agent.head(gone).status_code == 404
    answer = agent.commit({"methods.txt": hashlib.sha256(b"second").hexdigest()})
    assert (answer.status_code, answer.json()["unlisted"]) == (200, ["data/unlisted"])
    assert get(facility, f"/files/{DATASET}/methods.txt").content == b"second"
    assert get(facility, f"/files/{DATASET}/data/unlisted").status_code == 404


def test_a_restart_in_the_middle_loses_nothing(store: dict[str, Any], tmp_path: Path) -> None:
    wanted, body = files(), b"0123456789" * 1000
    with running(tmp_path / "data", **store) as facility:
        agent = facility.agent()
        for path, text in wanted.items():
            agent.send(path, text)
        location = agent.create("data/late", len(body)).headers["Location"]
        agent.patch(location, 0, body[:5000])
    with running(tmp_path / "data", **store) as facility:
        agent = facility.agent()
        assert agent.head(location).headers["Upload-Offset"] == "5000"
        agent.patch(location, 5000, body[5000:])
        assert agent.commit(hashes(wanted | {"data/late": body})).status_code == 200
        assert get(facility, f"/files/{DATASET}/data/late").content == body


def test_what_was_abandoned_is_removed(store: dict[str, Any], tmp_path: Path) -> None:
    class Later:
        def now_ns(self) -> int:
            return time.time_ns() + 15 * 86_400 * 10**9

        def monotonic(self) -> float:
            return time.monotonic()

        def wait(self, stop: object, seconds: float) -> bool:
            return False

    settings = Settings(data_dir=tmp_path / "data", **store)
    settings.data_dir.mkdir()
    with running(settings.data_dir, **store) as facility:
        agent = facility.agent()
        agent.send("methods.txt", b"whole")
        half = agent.create("data/half", 100).headers["Location"]
        agent.patch(half, 0, b"half")
        agent.deliver(files(), DATASET.replace("cells", "kept"))
    storage = open_storage(settings)
    assert storage.expire() == 0
    storage._clock = Later()
    assert storage.expire() >= 2
    with pytest.raises(Unknown):
        storage.upload(half.rpartition("/")[2])
    with pytest.raises(Unknown):
        storage.verify(DATASET)
    assert list(storage.datasets()) == [DATASET.replace("cells", "kept")]


def test_datasets_that_lie_there_are_found_and_checked(store: dict[str, Any], tmp_path: Path) -> None:
    """As after an agent that delivered to the store itself, or a copy of another facility's folder."""
    with running(tmp_path / "first", **store) as facility:
        facility.agent().deliver(files())
        facility.agent().deliver(files(), DATASET.replace("cells", "twin"))
    with running(tmp_path / "second", **store) as facility:
        wait_for(lambda: len(acquisitions(facility)) == 2, "both datasets")
        with facility.catalogue() as catalogue:
            wait_for(lambda: catalogue.unchecked(0) is None, "the check of their bytes")
        assert get(facility, "/api/quarantine").json() == []


def test_notes_are_kept_beside_the_datasets(store: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    storage = open_storage(Settings(data_dir=tmp_path / "data", **store))
    assert storage.note("a/b.json") is None
    storage.keep_note("a/b.json", b"1")
    storage.keep_note("a/b.json", b"2")
    storage.keep_note("a/c/d.json", b"3")
    assert storage.note("a/b.json") == b"2"
    assert sorted(storage.notes("a")) == ["a/b.json", "a/c/d.json"]
    storage.drop_note("a/b.json")
    storage.drop_note("a/b.json")
    assert list(storage.notes("a")) == ["a/c/d.json"]
    assert list(storage.notes("none")) == []
    assert list(storage.datasets()) == []


def test_two_replicas_one_store_one_database(tmp_path: Path, far: dict[str, Any]) -> None:
    """One begins what the other goes on with; both show it; of two that commit, each says the same."""
    said = dict(far)
    shared = {"store": f"s3://{said.pop('bucket')}/replicas"} | said | {"tokens_file": tmp_path / "one" / "tokens.txt"}
    with ExitStack() as stack:
        url = stack.enter_context(postgresql())
        empty(url)
        one = stack.enter_context(running(tmp_path / "one", catalogue_url=url, **shared))
        two = stack.enter_context(running(tmp_path / "two", catalogue_url=url, **shared))
        first = one.agent()
        second = Agent(two.url, first.http.headers["Authorization"].removeprefix("Bearer "))
        body = b"0123456789" * 1000
        location = first.create("data/big", len(body)).headers["Location"]
        assert first.patch(location, 0, body[:3000]).status_code == 204
        assert second.head(location).headers["Upload-Offset"] == "3000"
        with ThreadPoolExecutor(2) as pool:
            racing = pool.map(lambda agent: agent.patch(location, 3000, body[3000:]).status_code, [first, second])
            assert sorted(racing) == [204, 409]
        wanted = files() | {"data/big": body}
        for number, (path, text) in enumerate(files().items()):
            (first, second)[number % 2].send(path, text)
        with ThreadPoolExecutor(2) as pool:
            committed = list(pool.map(lambda agent: agent.commit(hashes(wanted)).status_code, [first, second]))
        assert 200 in committed
        assert {first.commit(hashes(wanted)).status_code, second.commit(hashes(wanted)).status_code} == {200}
        assert [item["name"] for item in acquisitions(one)] == [item["name"] for item in acquisitions(two)] == ["cells"]
        assert get(two, f"/files/{DATASET}/data/big").content == body
        second.http.close()


def test_a_replica_that_dies_over_the_last_chunk_is_no_loss(tmp_path: Path) -> None:
    """Every byte is there, and nobody wrote down that the file is whole: whoever asks next does."""
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'scope-agent[s3]'")
    (tmp_path / "data").mkdir()
    storage = open_storage(Settings(data_dir=tmp_path / "data", store=f"file://{tmp_path / 'shared'}"))
    upload = storage.create("lab/scope1", DATASET, "methods.txt", 6)
    storage._uploads.add(upload, [b"abc"])
    half = storage.upload(upload.id)
    assert (half.offset, half.sha256) == (3, None)
    storage._uploads.add(half, [b"def"])
    whole = storage.upload(upload.id)
    assert (whole.offset, whole.sha256) == (6, hashlib.sha256(b"abcdef").hexdigest())
    assert storage.upload(upload.id) == whole
    with pytest.raises(Conflict):
        storage._uploads.add(half, [b"DEF"])
    assert storage.commit(DATASET, render({"methods.txt": whole.sha256 or ""})).verified
    assert storage.open(DATASET, "methods.txt").all() == b"abcdef"


def test_a_folder_of_datasets_from_elsewhere(tmp_path: Path) -> None:
    """Laid there by hand, with what a facility never writes beside it."""
    root = tmp_path / "archive"
    place = root / DATASET
    for path, body in files().items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(body)
    (place / "manifest-sha256.txt").write_bytes(render(hashes(files())))
    shutil.copytree(place, root / "lab" / "scope 9" / "2026" / "03" / "04" / "101112_cells_0badcafe")
    (root / "notes.txt").write_text("not a dataset")
    with running(tmp_path / "data", store=str(root)) as facility:
        wait_for(lambda: len(acquisitions(facility)) == 1, "the dataset")
        assert get(facility, f"/view/{DATASET}").status_code == 200


@pytest.mark.parametrize("store", ["ftp://x/y", "s3://", "nonsense://x"])
def test_stores_that_are_none(tmp_path: Path, store: str) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'scope-agent[s3]'")
    with pytest.raises(Misconfigured, match="store"):
        open_storage(Settings(data_dir=tmp_path, store=store))


def test_a_store_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'scope-agent[s3]'")
    (tmp_path / "credentials").write_text("a\nb\n")
    settings = {"s3_endpoint": "http://127.0.0.1:9", "s3_credentials_file": tmp_path / "credentials"}
    with running(tmp_path / "data", store="s3://acq/x", **settings) as facility:
        assert facility.agent().create("data/a", 10).status_code == 503
        assert get(facility, "/health").status_code == 200


def test_an_archive_that_cannot_be_written_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "archive"
    with running(tmp_path / "first", store=str(root)) as facility:
        facility.agent().deliver(files())
    shutil.rmtree(root / ".facility")
    mkdir = Path.mkdir

    def refused(self: Path, *args: Any, **kwargs: Any) -> None:
        # Root may write everywhere: what everybody else would be told.
        if self == root / ".facility":
            raise PermissionError(13, "Permission denied", str(self))
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refused)
    with running(tmp_path / "second", store=str(root)) as facility:
        wait_for(lambda: len(acquisitions(facility)) == 1, "the dataset")
        assert get(facility, f"/files/{DATASET}/methods.txt").status_code == 200
        assert facility.agent().create("data/x", 1, DATASET.replace("cells", "new")).status_code == 403
    assert not (root / ".facility").exists()
