"""tus over a real server: what counts, what is refused, what survives a restart."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from agent.errors import NoSpace
from agent.facility.folder import FolderStorage
from agent.facility.incoming import Incoming
from agent.facility.settings import Settings

from .rig import DATASET, Agent, Running, checksum, described, running, wait_for

BODY = os.urandom(300_000)


def offset(answer: httpx.Response) -> int:
    return int(answer.headers["Upload-Offset"])


def test_options_tell_what_is_spoken(facility: Running) -> None:
    answer = httpx.options(facility.url + "/upload", trust_env=False)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "checksum", "termination", "expiration",
    }  # fmt: skip
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha256,sha256-running"
    assert int(answer.headers["Tus-Max-Size"]) == facility.settings.max_file_bytes


def test_chunks_add_up_to_the_file_and_its_hash(agent: Agent) -> None:
    created = agent.create("data/a.tif", len(BODY))
    assert created.status_code == 201
    assert offset(created) == 0
    place = created.headers["Location"]
    first = agent.patch(place, 0, BODY[:100_000])
    assert (first.status_code, offset(first)) == (204, 100_000)
    assert "Upload-Sha256" not in first.headers
    assert "GMT" in first.headers["Upload-Expires"]
    asked = agent.head(place)
    assert (asked.status_code, offset(asked), asked.headers["Upload-Length"]) == (200, 100_000, "300000")
    assert asked.headers["Cache-Control"] == "no-store"
    last = agent.patch(place, 100_000, BODY[100_000:])
    assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()
    # The answer to the last chunk may be lost: asking gives it again.
    assert agent.head(place).headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("body", [b"", b"x", BODY])
def test_creation_carries_a_whole_file(agent: Agent, facility: Running, body: bytes) -> None:
    answer = agent.send("data/small.bin", body)
    assert answer.status_code == 201
    assert answer.headers["Upload-Sha256"] == hashlib.sha256(body).hexdigest()
    assert (facility.data / ".staging" / DATASET / "files/data/small.bin").read_bytes() == body


def test_creation_may_carry_the_first_chunk_only(agent: Agent) -> None:
    headers = {
        "Upload-Length": str(len(BODY)),
        "Upload-Metadata": described(DATASET, "data/a.tif"),
        "Upload-Checksum": checksum(BODY[:1000]),
        "Content-Type": "application/offset+octet-stream",
    }
    created = agent.http.post("/upload", headers=headers, content=BODY[:1000])
    assert offset(created) == 1000
    last = agent.patch(created.headers["Location"], 1000, BODY[1000:])
    assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()


def test_a_damaged_chunk_is_discarded(agent: Agent) -> None:
    place = agent.create("data/a.tif", len(BODY)).headers["Location"]
    agent.patch(place, 0, BODY[:1000])
    damaged = agent.patch(place, 1000, BODY[1001:2001], checksum(BODY[1000:2000]))
    assert damaged.status_code == 460
    assert offset(agent.head(place)) == 1000
    last = agent.patch(place, 1000, BODY[1000:])
    assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()


def test_a_damaged_file_of_one_request_leaves_nothing(agent: Agent, facility: Running) -> None:
    headers = {
        "Upload-Length": "4",
        "Upload-Metadata": described(DATASET, "data/a.tif"),
        "Upload-Checksum": checksum(b"good"),
        "Content-Type": "application/offset+octet-stream",
    }
    assert agent.http.post("/upload", headers=headers, content=b"evil").status_code == 460
    assert not list((facility.data / ".incoming").iterdir())
    assert not (facility.data / ".staging" / DATASET).exists()


@pytest.mark.parametrize("check", ["", "sha256", "md5 CY9rzUYh03PK3k6DJie09g==", "sha256 AAAA", "sha256 \x7f!"])
def test_without_a_checksum_nothing_is_accepted(facility_of_module: Agent, check: str) -> None:
    agent = facility_of_module
    place = agent.create("data/a.tif", 10).headers["Location"]
    assert agent.patch(place, 0, b"0123456789", check).status_code == 400
    assert offset(agent.head(place)) == 0


def test_a_wrong_offset_is_refused(agent: Agent) -> None:
    place = agent.create("data/a.tif", len(BODY)).headers["Location"]
    agent.patch(place, 0, BODY[:1000])
    for wrong in (0, 999, 1001, len(BODY)):
        assert agent.patch(place, wrong, BODY[wrong : wrong + 10]).status_code == 409
    assert offset(agent.head(place)) == 1000


def test_more_bytes_than_announced_are_refused(agent: Agent) -> None:
    place = agent.create("data/a.tif", 10).headers["Location"]
    assert agent.patch(place, 0, b"01234567890").status_code == 413
    # Without a Content-Length the overrun shows only on the way.
    body = b"x" * 5_000_000
    streamed = agent.patch(place, 0, iter([body[:2_000_000], body[2_000_000:]]), checksum(body))
    assert streamed.status_code == 413
    assert offset(agent.head(place)) == 0
    assert agent.patch(place, 0, b"0123456789").status_code == 204


def test_a_complete_upload_takes_no_more(agent: Agent) -> None:
    place = agent.send("data/a.tif", b"whole").headers["Location"]
    assert agent.patch(place, 5, b"").status_code == 409
    assert agent.patch(place, 0, b"whole").status_code == 409


def test_only_tus_bodies_and_versions(agent: Agent) -> None:
    place = agent.create("data/a.tif", 3).headers["Location"]
    headers = {"Upload-Offset": "0", "Upload-Checksum": checksum(b"abc"), "Content-Type": "text/plain"}
    assert agent.http.patch(place, headers=headers, content=b"abc").status_code == 415
    other = agent.http.head(place, headers={"Tus-Resumable": "0.2.2"})
    assert (other.status_code, other.headers["Tus-Version"]) == (412, "1.0.0")


def test_termination(agent: Agent, facility: Running) -> None:
    place = agent.create("data/a.tif", 10).headers["Location"]
    agent.patch(place, 0, b"01234")
    assert agent.http.delete(place).status_code == 204
    assert agent.head(place).status_code == 404
    assert agent.patch(place, 5, b"56789").status_code == 404
    assert not list((facility.data / ".incoming").iterdir())


def test_resumed_after_a_restart_of_the_facility(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as facility:
        agent = facility.agent()
        token = agent.http.headers["Authorization"].removeprefix("Bearer ")
        place = agent.create("data/a.tif", len(BODY)).headers["Location"]
        agent.patch(place, 0, BODY[:100_000])
    # A chunk that was cut by a crash leaves bytes behind the offset.
    part = data / ".incoming" / place.rpartition("/")[2] / "part"
    part.write_bytes(part.read_bytes() + b"leftovers of a chunk")
    with running(data) as facility:
        agent = facility.agent_with(token)
        assert offset(agent.head(place)) == 100_000
        last = agent.patch(place, 100_000, BODY[100_000:])
        assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()
        assert agent.commit({"data/a.tif": hashlib.sha256(BODY).hexdigest()}).status_code == 200


def running_checksum(before: bytes) -> str:
    return checksum(before).replace("sha256", "sha256-running")


def test_the_checksum_may_be_that_of_all_bytes_so_far(agent: Agent) -> None:
    place = agent.create("data/a.tif", len(BODY)).headers["Location"]
    assert agent.patch(place, 0, BODY[:1000], running_checksum(BODY[:1000])).status_code == 204
    # Of the chunk alone, of other bytes before it, of a damaged chunk.
    for wrong in (BODY[1000:2000], b"x" + BODY[1:2000], BODY[:1999] + b"?"):
        assert agent.patch(place, 1000, BODY[1000:2000], running_checksum(wrong)).status_code == 460
    assert offset(agent.head(place)) == 1000
    assert agent.patch(place, 1000, BODY[1000:2000], running_checksum(BODY[:2000])).status_code == 204
    assert agent.patch(place, 2000, BODY[2000:3000]).status_code == 204, "the two may take turns"
    last = agent.patch(place, 3000, BODY[3000:], running_checksum(BODY))
    assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()


def test_after_a_restart_the_checksum_must_be_of_the_chunk_alone(tmp_path: Path) -> None:
    with running(tmp_path) as facility:
        agent = facility.agent()
        token = agent.http.headers["Authorization"].removeprefix("Bearer ")
        place = agent.create("data/a.tif", len(BODY)).headers["Location"]
        agent.patch(place, 0, BODY[:1000], running_checksum(BODY[:1000]))
    with running(tmp_path) as facility:
        agent = facility.agent_with(token)
        assert agent.patch(place, 1000, BODY[1000:], running_checksum(BODY)).status_code == 412
        assert offset(agent.head(place)) == 1000
        last = agent.patch(place, 1000, BODY[1000:])
        assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()


def test_bytes_that_a_power_cut_took_are_asked_for_again(agent: Agent, facility: Running) -> None:
    place = agent.create("data/a.tif", len(BODY)).headers["Location"]
    agent.patch(place, 0, BODY[:100_000])
    part = facility.data / ".incoming" / place.rpartition("/")[2] / "part"
    part.write_bytes(BODY[:60_000])
    assert offset(agent.head(place)) == 60_000
    last = agent.patch(place, 60_000, BODY[60_000:])
    assert last.headers["Upload-Sha256"] == hashlib.sha256(BODY).hexdigest()


def _begin(facility: Running, agent: Agent, place: str, announced: int, sent: bytes) -> socket.socket:
    """A PATCH that stops in the middle of its body."""
    host, _, port = facility.url.removeprefix("http://").partition(":")
    wire = socket.create_connection((host, int(port)))
    lines = [
        f"PATCH {place} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: {agent.http.headers['Authorization']}",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        "Upload-Offset: 0",
        f"Upload-Checksum: {checksum(b'never complete')}",
        f"Content-Length: {announced}",
    ]
    wire.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + sent)
    return wire


def test_a_cut_connection_counts_for_nothing(facility: Running, agent: Agent) -> None:
    place = agent.create("data/a.tif", 5_000_000).headers["Location"]
    with _begin(facility, agent, place, 5_000_000, b"x" * 3_000_000):
        time.sleep(0.2)
    assert offset(agent.head(place)) == 0
    assert agent.patch(place, 0, b"y" * 5_000_000).status_code == 204


def test_a_newer_request_takes_a_frozen_one_over(facility: Running, agent: Agent) -> None:
    place = agent.create("data/a.tif", 5_000_000).headers["Location"]
    with _begin(facility, agent, place, 5_000_000, b"x" * 2_000_000) as frozen:
        time.sleep(0.2)
        before = time.monotonic()
        assert offset(agent.head(place)) == 0
        assert agent.patch(place, 0, b"y" * 5_000_000).status_code == 204
        assert time.monotonic() - before < 4
        frozen.settimeout(10)
        assert b"409" in frozen.recv(100)


def test_a_stalled_sender_is_given_up(tmp_path: Path) -> None:
    with running(tmp_path / "data", stall_s=0.5) as facility:
        agent = facility.agent()
        place = agent.create("data/a.tif", 5_000_000).headers["Location"]
        with _begin(facility, agent, place, 5_000_000, b"x" * 1_500_000) as slow:
            slow.settimeout(10)
            assert b" 408 " in slow.recv(100)


def test_a_full_disk_is_507_and_costs_nothing(facility: Running, agent: Agent) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    place = agent.create("data/a.tif", 3_000_000).headers["Location"]
    agent.patch(place, 0, BODY)
    part = facility.data / ".incoming" / place.rpartition("/")[2] / "part"
    kept = part.rename(part.with_name("kept"))
    part.symlink_to("/dev/full")
    # The device has no size, so that the offset shrinks with it; what matters is the answer.
    assert agent.patch(place, 0, b"z" * 2_000_000).status_code == 507
    part.unlink()
    kept.rename(part)
    assert offset(agent.head(place)) == len(BODY)


def test_an_upload_that_does_not_fit_is_507_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "data", min_free_bytes=1 << 60) as facility:
        answer = facility.agent().create("data/a.tif", 10)
        assert answer.status_code == 507
        assert "agent keeps the data" in answer.json()["detail"]


def test_a_file_larger_than_allowed(tmp_path: Path) -> None:
    with running(tmp_path / "data", max_file_bytes=1000) as facility:
        assert facility.agent().create("data/a.tif", 1001).status_code == 413
        assert facility.agent().create("data/a.tif", 1000).status_code == 201


@pytest.mark.parametrize("length", ["", "-1", "1.5", "1e3", "٣", "9" * 30])
def test_a_length_that_is_none(facility_of_module: Agent, length: str) -> None:
    headers = {"Upload-Length": length.encode(), "Upload-Metadata": described(DATASET, "a").encode()}
    assert facility_of_module.http.post("/upload", headers=headers).status_code == 400


def test_many_at_once(facility: Running) -> None:
    bodies = {f"data/{n:03}.bin": os.urandom(50_000 + n) for n in range(40)}
    answers: dict[str, str] = {}

    def work(names: list[str]) -> None:
        agent = facility.agent()
        for name in names:
            place = agent.create(name, len(bodies[name])).headers["Location"]
            agent.patch(place, 0, bodies[name][:20_000])
            answers[name] = agent.patch(place, 20_000, bodies[name][20_000:]).headers["Upload-Sha256"]

    names = sorted(bodies)
    threads = [threading.Thread(target=work, args=(names[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hashes = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
    assert answers == hashes
    assert facility.agent().commit(hashes).json()["verified"] is True
    assert not list((facility.data / ".incoming").iterdir())


def test_uploads_that_nobody_knows_end_with_the_commit(tmp_path: Path) -> None:
    """The answer to their creation was lost; before and after a restart of the facility."""
    data = tmp_path / "data"
    with running(data) as facility:
        agent = facility.agent()
        token = agent.http.headers["Authorization"].removeprefix("Bearer ")
        agent.patch(agent.create("data/a.tif", 10).headers["Location"], 0, b"01234")
        other = agent.create("data/a.tif", 10, DATASET.replace("cells", "other")).headers["Location"]
    with running(data) as facility:
        agent = facility.agent_with(token)
        agent.create("data/a.tif", 10)
        assert agent.deliver({"data/a.tif": b"0123456789"}).status_code == 200
        assert [path.name for path in (data / ".incoming").iterdir()] == [other.rpartition("/")[2]]


def test_a_facility_killed_right_after_a_commit_tidies_up_at_its_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as facility:
        agent = facility.agent()
        agent.send("data/a.tif", b"0123456789")
        left = next((data / ".incoming").iterdir())
        kept = {path.name: path.read_bytes() for path in left.iterdir()}
        assert agent.commit({"data/a.tif": hashlib.sha256(b"0123456789").hexdigest()}).status_code == 200
    left.mkdir()
    for name, body in kept.items():
        (left / name).write_bytes(body)
    with running(data):
        assert not list((data / ".incoming").iterdir())
    assert (data / "datasets" / DATASET / "data/a.tif").read_bytes() == b"0123456789"


def test_abandoned_uploads_expire(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as facility:
        agent = facility.agent()
        stale = agent.create("data/a.tif", 10).headers["Location"].rpartition("/")[2]
        fresh = agent.create("data/b.tif", 10).headers["Location"].rpartition("/")[2]
        other = DATASET.replace("cells", "left")
        agent.send("data/c.tif", b"never committed", other)
    long_ago = time.time() - 20 * 86_400
    os.utime(data / ".incoming" / stale / "info.json", (long_ago, long_ago))
    os.utime(data / ".staging" / other / "received.jsonl", (long_ago, long_ago))
    with running(data):
        wait_for(lambda: not (data / ".incoming" / stale).exists(), "the end of a stale upload")
        wait_for(lambda: not (data / ".staging/lab").exists(), "the end of a dataset that was never committed")
        assert (data / ".incoming" / fresh).exists()


def test_an_upload_that_a_full_disk_refused_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    """Its address was never told, so nobody could go on with it or end it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    incoming = Incoming(tmp_path)
    monkeypatch.setattr("agent.facility.incoming.write_atomic", full)
    with pytest.raises(NoSpace):
        incoming.create("scope1", DATASET, "data/a", 10)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_begun_while_its_dataset_is_committed_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    """A request that waited in the socket of a frozen facility comes when another try has delivered it all."""
    storage = FolderStorage(Settings(data_dir=tmp_path))
    body = b"pixels"
    reception = storage.receive(storage.create("scope1", DATASET, "data/a", len(body)))
    reception.write(body)
    storage.accept(reception, hashlib.sha256(body).digest())
    begin, late = storage._incoming.create, []

    def meanwhile(*given: object) -> object:
        manifest = f"{hashlib.sha256(body).hexdigest()}  data/a\n".encode()
        late.append(threading.Thread(target=storage.commit, args=(DATASET, manifest)))
        late[0].start()
        late[0].join(0.3)
        return begin(*given)

    monkeypatch.setattr(storage._incoming, "create", meanwhile)
    storage.create("scope1", DATASET, "data/b", 10)
    late[0].join()
    assert storage.is_committed(DATASET)
    assert list((tmp_path / ".incoming").iterdir()) == []
