"""What a delivery survives: networks and servers on bad days, and files that change under it."""

from __future__ import annotations

import hashlib
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.delivery.facility import FacilityTarget
from agent.delivery.reading import Reading
from agent.delivery.retry import Later, Retry, decide
from agent.delivery.settings import DeliverySettings
from agent.delivery.wire import Wire
from agent.errors import Misconfigured, NoSpace, Retryable, SourceChanged, Unreachable
from agent.facility.serve import create_token
from tests.conftest import ROOT, end_facility, free_port, wait_port
from tests.unit.delivery.meddler import Meddler
from tests.unit.delivery.test_delivery import DATASET, Facility, facility, outbox, queued, worker  # noqa: F401


@pytest.fixture
def bad(facility: Facility) -> Iterator[Meddler]:  # noqa: F811
    made = Meddler(facility.port)
    yield made
    made.close()


@pytest.fixture
def target(facility: Facility, bad: Meddler, tmp_path: Path) -> Iterator[FacilityTarget]:  # noqa: F811
    settings = facility.settings(tmp_path).model_copy(update={"url": f"http://127.0.0.1:{bad.port}", "stall_s": 1.0})
    made = FacilityTarget(settings)
    yield made
    made.close()


def delivered(facility: Facility, name: str) -> bytes:  # noqa: F811
    return (facility.data / "datasets" / DATASET / "data" / name).read_bytes()


# The file changes


def rewrite(path: Path, where: int) -> None:
    """Other bytes in place, times restored: what no client of five noticed."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(where)
        file.write(b"CHANGED!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def rewrite_mapped(path: Path, where: int) -> None:
    before = path.stat()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[where : where + 8] = b"CHANGED!"
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, rewrite_mapped])
@pytest.mark.parametrize("where", [0, (1 << 20) - 8])
def test_a_rewrite_in_place_with_times_restored_is_noticed_and_sent_again(
    facility, outbox, tmp_path, change, where  # noqa: F811
) -> None:  # fmt: skip
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(3 << 20))
    queued(outbox, source)
    calls = 0

    def meddle() -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            change(source, where)
        return False

    target = FacilityTarget(facility.settings(tmp_path))
    with pytest.raises(SourceChanged, match="rewritten"):
        worker(outbox, target, meddle).deliver(outbox.get("00-1"))
    assert outbox.files("00-1")[0].sha256 is None
    queued(outbox, source)
    worker(outbox, target).deliver(outbox.get("00-1"))
    assert delivered(facility, "a.bin") == source.read_bytes()
    target.close()


def test_a_rewrite_after_the_file_was_sent_and_before_the_commit(facility, outbox, tmp_path) -> None:  # noqa: F811
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(1 << 20))
    queued(outbox, source)
    target = FacilityTarget(facility.settings(tmp_path))
    plain = target.send

    def send(dataset, file):
        if file.target == "acquisition.json":
            rewrite(source, 0)
        return plain(dataset, file)

    target.send = send
    with pytest.raises(SourceChanged, match="after it was sent"):
        worker(outbox, target).deliver(outbox.get("00-1"))
    assert not (facility.data / "datasets" / DATASET).exists()
    target.close()


def test_a_touch_without_a_change_costs_a_second_read_and_nothing_else(tmp_path, outbox) -> None:  # noqa: F811
    source = tmp_path / "a.bin"
    source.write_bytes(b"abc")
    queued(outbox, source)
    row = outbox.files("00-1")[0]
    reading = Reading.of(row)
    assert b"".join(reading.blocks(0)) == b"abc"
    source.chmod(0o600)
    assert reading.confirm().touched_ns != reading.before.touched_ns
    with source.open("r+b"):  # a writer that writes nothing
        reading.confirm()


# Peers that freeze or crawl


def frozen_facility(tmp_path: Path, port: int | None = None) -> tuple[subprocess.Popen, DeliverySettings]:
    port = port or free_port()
    if not (tmp_path / "token").exists():
        (tmp_path / "token").write_text(create_token(tmp_path / "f", "lab/scope"))
    command = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(tmp_path / "f"), "--port", str(port)]
    command += ["--mqtt-port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_port(port, process, 30)
    url = f"http://127.0.0.1:{port}"
    return process, DeliverySettings(url=url, token_file=tmp_path / "token", stall_s=1, chunk_mib=1)


def test_a_facility_that_was_started_again_has_forgotten_the_hash_so_far(tmp_path, outbox) -> None:  # noqa: F811
    told: list[str] = []
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(6 << 20))
    queued(outbox, source)
    process, settings = frozen_facility(tmp_path)
    target = FacilityTarget(settings.model_copy(update={"stall_s": 20.0}))
    ask = target._wire.ask

    def listened(method, path, *, headers, **more):
        told.append(headers.get("Upload-Checksum", "").split(" ")[0])
        answer = ask(method, path, headers=headers, **more)
        if told.count("sha256-running") == 3 and process.poll() is None:
            process.kill()
            process.wait()
        return answer

    target._wire.ask = listened  # type: ignore[method-assign]
    try:
        with pytest.raises(Unreachable):
            worker(outbox, target).deliver(outbox.get("00-1"))
        assert told.count("sha256") == 0, "hashed once"
        process, _ = frozen_facility(tmp_path, settings.url.port)
        worker(outbox, target).deliver(outbox.get("00-1"))
        assert told.count("sha256") >= 3, "of each chunk alone, once the facility had forgotten"
        assert (tmp_path / "f/datasets" / DATASET / "data/a.bin").read_bytes() == source.read_bytes()
    finally:
        end_facility(process, tmp_path / "f")
        target.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_stopped_facility_is_given_up_and_resumed(tmp_path, outbox) -> None:  # noqa: F811
    process, settings = frozen_facility(tmp_path)
    target = FacilityTarget(settings)
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(4 << 20))
    queued(outbox, source)
    calls = 0

    def freeze() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            process.send_signal(signal.SIGSTOP)
        return False

    try:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="stalled"):
            worker(outbox, target, freeze).deliver(outbox.get("00-1"))
        assert time.monotonic() - began < 60
        process.send_signal(signal.SIGCONT)
        target.close()
        # On a busy machine a facility that wakes up may need more than the second that was enough to give it up.
        target = FacilityTarget(settings.model_copy(update={"stall_s": 20.0}))
        worker(outbox, target).deliver(outbox.get("00-1"))
        held = (tmp_path / "f/datasets" / DATASET / "data/a.bin").read_bytes()
        assert held == source.read_bytes()
    finally:
        end_facility(process, tmp_path / "f")
        target.close()


def test_a_peer_that_answers_a_byte_now_and_then_is_given_up(bad: Meddler, target: FacilityTarget) -> None:
    bad.crawl_s = 0.3
    began = time.monotonic()
    with pytest.raises(Unreachable, match="stalled"):
        target.check()
    assert time.monotonic() - began < 4


def test_a_peer_that_takes_a_byte_now_and_then_is_given_up(monkeypatch) -> None:
    """Its kernel takes a few megabytes, then next to nothing; 8 MiB must be gone in stall time and a little."""
    import socket
    import threading

    from agent.delivery import wire

    monkeypatch.setattr(wire, "SLOWEST", 8 << 20)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stop = threading.Event()

    def crawl() -> None:
        peer, _ = listener.accept()
        while not stop.wait(0.05):
            peer.recv(1)
        peer.close()

    thread = threading.Thread(target=crawl)
    thread.start()
    made = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}", "the peer", 1.0)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="stalled"):
        made.ask("PATCH", "/x", body=wire.Body.of(*[bytes(1 << 20)] * 8))
    assert time.monotonic() - began < 5
    stop.set()
    thread.join()
    listener.close()


# Cuts, lost and odd answers


def test_a_reset_at_every_part_still_arrives(bad: Meddler, facility, target, outbox, tmp_path) -> None:  # noqa: F811
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(6 << 20))
    queued(outbox, source)
    bad.cut_after = (1 << 20) + 200_000  # one chunk comes through on each connection, the next is cut
    for _ in range(20):
        try:
            worker(outbox, target).deliver(outbox.get("00-1"))
            break
        except Unreachable:
            continue
    assert bad.cuts >= 3
    assert delivered(facility, "a.bin") == source.read_bytes()
    posts = [head for head in bad.heads if head.startswith(b"POST /upload ")]
    assert len(posts) == 1 + 1, "one upload for the file and one for the record: nothing began anew"


@pytest.mark.parametrize("lost", [b"POST /upload", b"PATCH ", b"PUT /datasets"])
def test_a_lost_answer_is_no_loss(bad: Meddler, facility, target, outbox, tmp_path, lost) -> None:  # noqa: F811
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(2 << 20))
    queued(outbox, source)
    losses = 0

    def lose(head: bytes) -> bool:
        nonlocal losses
        losses += head.startswith(lost) and losses < 3
        return head.startswith(lost) and losses < 3

    bad.lose = lose
    for _ in range(6):
        try:
            done = worker(outbox, target).deliver(outbox.get("00-1"))
            break
        except Unreachable:
            continue
    assert done.files == 2
    assert losses >= 1
    assert delivered(facility, "a.bin") == source.read_bytes()
    assert sorted(path.name for path in (facility.data / "datasets" / DATASET).rglob("*") if path.is_file()) == [
        "a.bin", "acquisition.json", "manifest-sha256.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, Retryable), (502, Retryable), (503, Later), (429, Later), (507, NoSpace), (401, Misconfigured),
     (403, Misconfigured), (408, Retryable), (423, Retryable), (201, Retryable), (302, Retryable)],
)  # fmt: skip
def test_every_class_of_server_error_is_kept_for_later(bad: Meddler, target, status, kind) -> None:
    bad.say = [b"HTTP/1.1 %d No\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno" % status]
    with pytest.raises(kind) as caught:
        target.check()
    again = decide(caught.value, 0, DeliverySettings(url="http://x"))
    assert again == Retry(7 if kind is Later else 1)
    target.check()


def test_a_stale_offset_is_asked_again(facility, outbox, tmp_path) -> None:  # noqa: F811
    """tus servers were seen to tell 0 right after a cut, and 824 MiB half a second later."""
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(4 << 20))
    queued(outbox, source)
    target = FacilityTarget(facility.settings(tmp_path))
    plain, asked = target._offset, []

    def resume(file):
        place, offset = FacilityTarget._resume(target, file)
        return place, 0 if place else offset

    with pytest.raises(Retryable):
        worker(outbox, target, lambda: len(asked.append(1) or asked) > 3).deliver(outbox.get("00-1"))
    assert plain(outbox.files("00-1")[0].upload) > 0
    target._resume = resume
    worker(outbox, target).deliver(outbox.get("00-1"))
    assert delivered(facility, "a.bin") == source.read_bytes()
    target.close()


def test_a_renewed_token_is_picked_up_while_running(facility, tmp_path) -> None:  # noqa: F811
    settings = facility.settings(tmp_path)
    (tmp_path / "token").write_text("expired")
    target = FacilityTarget(settings)
    with pytest.raises(Misconfigured, match="expired"):
        target.check()
    (tmp_path / "token").write_text(facility.token)
    target.check()
    target.close()


def test_an_upload_that_is_given_up_is_ended_at_the_facility(facility, outbox, tmp_path) -> None:  # noqa: F811
    source = tmp_path / "a.bin"
    source.write_bytes(os.urandom(4 << 20))
    queued(outbox, source)
    target = FacilityTarget(facility.settings(tmp_path))
    asked: list[int] = []
    with pytest.raises(Retryable):
        worker(outbox, target, lambda: len(asked.append(1) or asked) > 3).deliver(outbox.get("00-1"))
    assert list((facility.data / ".incoming").iterdir())
    outbox.give_up_uploads("00-1")
    for upload in outbox.orphans():
        target.abandon(upload)
        target.abandon(upload)  # the answer may have been lost
        outbox.orphan_ended(upload)
    assert not list((facility.data / ".incoming").iterdir())
    assert outbox.orphans() == []
    worker(outbox, target).deliver(outbox.get("00-1"))
    assert hashlib.sha256(delivered(facility, "a.bin")).digest() == hashlib.sha256(source.read_bytes()).digest()
    target.close()
