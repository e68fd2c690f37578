"""What somebody tries who should not: each refused, written down, and without a trace in what is stored."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.facility.limits import Limit
from agent.facility.refusal import Refusal
from agent.facility.serve import list_tokens, revoke_tokens
from agent.facility.server import Connection

from .rig import DATASET, Agent, Running, checksum, described, files, running
from .test_facility_datasets import acquisitions, hashes

OTHER = DATASET.replace("scope1", "scope2")


def stored(facility: Running) -> dict[str, bytes]:
    """Every file that lies in the datasets."""
    root = facility.data / "datasets"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def audited(facility: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (facility.data / "audit.jsonl").read_text().splitlines()]


def raw(facility: Running, request: bytes) -> bytes:
    """The answer to bytes that no client would send."""
    port = int(facility.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        answer = b""
        # Being hung up on is an answer too.
        with suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while block := connection.recv(65536):
                answer += block
        return answer


def test_another_instruments_datasets_can_neither_be_written_nor_read(tmp_path: Path) -> None:
    with running(tmp_path / "data", open_reading=False) as facility:
        mine, theirs = facility.agent("lab/scope1"), facility.agent("lab/scope2")
        theirs.deliver(files(), OTHER)
        before = stored(facility)
        location = theirs.create("data/x", 4, OTHER.replace("cells", "new")).headers["Location"]
        tried = {
            "create": mine.send("data/x", b"evil", OTHER),
            "append": mine.patch(location, 0, b"evil"),
            "ask": mine.head(location),
            "end": mine.http.delete(location),
            "commit": mine.commit({"data/x": "0" * 64}, OTHER),
            "verify": mine.http.get(f"/datasets/{OTHER}/verify"),
            "file": mine.http.get(f"/files/{OTHER}/methods.txt"),
            "zip": mine.http.get(f"/datasets/{OTHER}/zip"),
            "record": mine.http.get(f"/api/datasets/{OTHER}/record"),
            "page": mine.http.get(f"/view/{OTHER}"),
            "picture": mine.http.get(f"/preview/{OTHER}/0.png"),
            "search": mine.http.get("/api/acquisitions"),
            "quarantine": mine.http.get("/api/quarantine"),
            "qc": mine.http.get("/api/qc"),
            "usage": mine.http.get("/api/usage"),
            "fleet": mine.http.get("/"),
        }
        assert {what: answer.status_code for what, answer in tried.items()} == dict.fromkeys(tried, 403)
        assert stored(facility) == before
        refused = [line for line in audited(facility) if line["outcome"] == "refused"]
        assert {(line["who"], line.get("dataset")) for line in refused} >= {("lab/scope1", OTHER)}
        # A reader reads, and never writes.
        reader = facility.agent("alice")
        assert reader.http.get(f"/files/{OTHER}/methods.txt").status_code == 200
        assert reader.send("data/x", b"evil", OTHER).status_code == 403


def test_nothing_can_be_overwritten_with_ones_own_token_either(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    before = stored(facility)
    assert agent.send("methods.txt", b"evil").status_code == 409
    assert agent.send("acquisition.json", b"{}").status_code == 409
    assert agent.commit({"methods.txt": hashlib.sha256(b"evil").hexdigest()}).status_code == 409
    assert agent.http.delete(f"/datasets/{DATASET}").status_code in (404, 405)
    assert agent.http.put(f"/files/{DATASET}/methods.txt", content=b"evil").status_code == 405
    assert stored(facility) == before


def test_a_replayed_delivery_changes_nothing(agent: Agent, facility: Running) -> None:
    """Every request of a delivery again, as somebody would who recorded it."""
    location = agent.create("data/big", 10).headers["Location"]
    agent.patch(location, 0, b"01234")
    assert agent.patch(location, 0, b"01234").status_code == 409
    assert agent.head(location).headers["Upload-Offset"] == "5"
    agent.patch(location, 5, b"56789")
    wanted = files() | {"data/big": b"0123456789"}
    agent.deliver(files())  # Refused: it lacks nothing, but is committed with fewer files.
    before = stored(facility)
    again = {
        "append": agent.patch(location, 5, b"56789").status_code,
        "create": agent.send("methods.txt", files()["methods.txt"]).status_code,
        "commit": agent.commit(hashes(wanted)).status_code,
    }
    assert again["append"] in (404, 409)
    assert (again["create"], again["commit"]) == (409, 409)
    assert agent.commit(hashes(files())).status_code == 200, "the same commit again is confirmed"
    assert stored(facility) == before
    assert len(acquisitions(facility)) == 1


def test_a_revoked_token_ends_in_the_middle_of_an_upload(agent: Agent, facility: Running) -> None:
    location = agent.create("data/big", 10).headers["Location"]
    assert agent.patch(location, 0, b"01234").status_code == 204
    assert [name for name, _ in list_tokens(facility.data)] == ["lab/scope1"]
    revoke_tokens(facility.data, "lab/scope1")
    assert list_tokens(facility.data) == []
    for answer in (
        agent.patch(location, 5, b"56789"), agent.head(location), agent.create("x", 1), agent.commit({"x": "0" * 64}),
        agent.http.get(f"/datasets/{DATASET}/verify"), agent.http.options("/upload"),
    ):  # fmt: skip
        assert answer.status_code == 401
    actions = [(line["action"], line["outcome"]) for line in audited(facility)]
    assert ("token create", "done") in actions
    assert ("token revoke", "done") in actions
    assert actions.count(("token", "refused")) == 6
    assert "scope_" not in (facility.data / "audit.jsonl").read_text(), "a log is no place for tokens"


@pytest.mark.parametrize(
    "lines",
    [
        [f"{'0' * 64}  methods.txt"],
        [f"{hashlib.sha256(files()['methods.txt']).hexdigest()}  ../../scope2/methods.txt"],
        [f"{hashlib.sha256(files()['methods.txt']).hexdigest()}  manifest-sha256.txt"],
        [f"{hashlib.sha256(files()['methods.txt']).hexdigest()}  data/claimed.tif"],
        [f"{hashlib.sha256(files()['methods.txt']).hexdigest().upper()}  methods.txt"],
        ["\x00" * 100],
    ],
)
def test_forged_manifests_commit_nothing(agent: Agent, facility: Running, lines: list[str]) -> None:
    agent.send("methods.txt", files()["methods.txt"])
    answer = agent.commit("".join(f"{line}\n" for line in lines).encode())
    assert answer.status_code in (400, 409)
    assert stored(facility) == {}
    assert acquisitions(facility) == []


@pytest.mark.parametrize("name", ["X-Long", "Cookie", "Authorization", "Upload-Metadata", "Range", "Upload-Checksum"])
def test_oversized_headers_are_refused_and_the_next_request_is_served(facility: Running, name: str) -> None:
    request = f"POST /upload HTTP/1.1\r\nHost: x\r\n{name}: {'x' * 200_000}\r\n\r\n".encode()
    refused = (b"HTTP/1.1 431 ", b"HTTP/1.1 400 ", b"")
    assert raw(facility, request)[:13] in refused
    many = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 60) for n in range(5000))
    assert raw(facility, b"GET / HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")[:13] in (
        b"HTTP/1.1 431 ",
        b"HTTP/1.1 400 ",
        b"",
    )
    assert httpx.get(facility.url + "/health", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /files/%ff%fe/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /view/..%2f..%2ftokens.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /preview/..%2f..%2f..%2ftokens/0.png HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /datasets/../../tokens.txt/zip HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/datasets/..%2f..%2f/record HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=\xff\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET /?complete=1e999&since=9999999-99-99&cursor=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?since=0001-01-01&until=9999-12-31 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/acquisitions?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/qc?instrument=%00&metric=%ed%a0%80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_requests_that_no_client_sends_are_no_server_error(facility: Running, request_: bytes) -> None:
    answer = raw(facility, request_)
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]
    assert b"scope1" not in answer


def test_metadata_that_lies_about_where_a_file_belongs(agent: Agent, facility: Running) -> None:
    for dataset, path in [
        (DATASET, "../../scope2/x"), (f"{DATASET}/../../x", "a"), (DATASET + "/", "a"), ("/" + DATASET, "a"),
        (DATASET, "/etc/passwd"), (DATASET, "..\\..\\x"), (DATASET, "a/./b"), (DATASET, "a\0b"), (DATASET.upper(), "a"),
    ]:  # fmt: skip
        told = {"Upload-Length": "1", "Upload-Metadata": described(dataset, path), "Upload-Checksum": checksum(b"x")}
        headers = told | {"Content-Type": "application/offset+octet-stream"}
        assert agent.http.post("/upload", headers=headers, content=b"x").status_code in (400, 403), (dataset, path)
    assert not any((facility.data / ".incoming").iterdir())


def test_guessing_tokens_ends_soon_and_hinders_nobody_else(tmp_path: Path) -> None:
    with running(tmp_path / "data", failures_per_minute=10, open_reading=False) as facility:
        agent = facility.agent()
        guesses = [facility.agent_with(f"scope_{n}").create("x", 1).status_code for n in range(15)]
        assert guesses[:10] == [401] * 10
        assert guesses[11:] == [429] * 4
        blocked = httpx.get(facility.url + "/", auth=("x", "guess"), trust_env=False)
        assert (blocked.status_code, blocked.headers["Retry-After"]) == (429, "2")
        assert agent.create("data/x", 1).status_code == 201, "whoever has a token is served from the same address too"


def test_reading_and_writing_have_a_pace(tmp_path: Path) -> None:
    with running(tmp_path / "data", reads_per_s=1, writes_per_s=1) as facility:
        reads = [httpx.get(facility.url + "/api/fleet", trust_env=False).status_code for _ in range(25)]
        assert reads[0] == 200
        assert reads[-1] == 429
        agent = facility.agent()
        writes = [agent.http.options("/upload").status_code for _ in range(25)]
        assert (writes[0], writes[-1]) == (204, 429)
        assert httpx.get(facility.url + "/health", trust_env=False).status_code == 200


def test_a_limit_refills() -> None:
    class Held:
        now = 0.0

        def now_ns(self) -> int:
            return 0

        def monotonic(self) -> float:
            return self.now

        def wait(self, stop: object, seconds: float) -> bool:
            return False

    clock = Held()
    limit = Limit(2, 3, clock)

    def allowed(name: str) -> bool:
        try:
            limit.take(name)
        except Refusal:
            return False
        return True

    assert [allowed("a") for _ in range(5)] == [True, True, True, False, False]
    assert allowed("b")
    clock.now = 1.0
    assert [allowed("a") for _ in range(4)] == [True, True, False, False]


def test_a_proxy_names_the_reader_and_nobody_else_does(tmp_path: Path) -> None:
    header = {"proxy_user_header": "X-Forwarded-User", "open_reading": False}

    def status(facility: Running, path: str, **headers: str) -> int:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        return httpx.get(facility.url + path, headers=sent, trust_env=False).status_code

    with running(tmp_path / "a", trusted_proxies=("127.0.0.0/8",), **header) as facility:
        agent = facility.agent()
        agent.deliver(files())
        assert status(facility, "/", X_Forwarded_User="ada") == 200
        assert status(facility, "/") == 401
        assert status(facility, "/", X_Forwarded_User="") == 401
        assert (
            status(facility, f"/files/{DATASET}/methods.txt", X_Forwarded_User="ada", X_Forwarded_For="10.1.2.3") == 200
        )
        assert audited(facility)[-1]["who"] == "ada"
        assert audited(facility)[-1]["from"] == "10.1.2.3"
        # The header opens reading, never writing, and is no way to be an instrument.
        forged = {"X-Forwarded-User": "lab/scope1", "Tus-Resumable": "1.0.0"}
        assert httpx.post(facility.url + "/upload", headers=forged, trust_env=False).status_code == 401
    with running(tmp_path / "b", trusted_proxies=("10.0.0.0/8",), **header) as facility:
        assert status(facility, "/", X_Forwarded_User="ada") == 401
    with running(tmp_path / "c", open_reading=False) as facility:
        assert status(facility, "/", X_Forwarded_User="ada") == 401


def test_the_audit_log_says_who_did_what(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    httpx.get(facility.url + f"/files/{DATASET}/methods.txt", trust_env=False)
    httpx.get(facility.url + f"/datasets/{DATASET}/zip", trust_env=False)
    lines = audited(facility)
    done = [(line["action"], line["who"], line.get("dataset"), line.get("file")) for line in lines]
    assert ("token create", "operator", None, None) in done
    assert ("commit", "lab/scope1", DATASET, None) in done
    assert ("download", None, DATASET, "methods.txt") in done
    assert ("download", None, DATASET, "zip") in done
    assert all(line["time"].endswith("Z") for line in lines)


def test_names_in_the_audit_log_cannot_forge_lines(agent: Agent, facility: Running) -> None:
    agent.commit({"x": "0" * 64}, DATASET)
    bad = f"{DATASET.replace('scope1', 'scope2')}"
    agent.create('x\n{"action": "commit"}', 1, bad)
    httpx.get(facility.url + "/upload%0a%7b%7d", headers={"Authorization": "Bearer x"}, trust_env=False)
    for line in (facility.data / "audit.jsonl").read_text().splitlines():
        assert json.loads(line)["time"]


@pytest.mark.slow
def test_no_request_of_the_openapi_document_is_a_server_error(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'scope-agent[servers]'")
    import hypothesis

    examples = int(os.environ.get("SCOPE_AGENT_EXAMPLES", "25"))
    with running(tmp_path / "data", reads_per_s=1e6, failures_per_minute=1e9) as facility:
        agent = facility.agent()
        agent.deliver(files())
        schema = schemathesis.openapi.from_url(facility.url + "/openapi.json")
        headers = {"Authorization": agent.http.headers["Authorization"], "Tus-Resumable": "1.0.0"}
        seen: dict[str, set[int]] = {}

        def ask(case: Any) -> None:
            answer = case.call(base_url=facility.url, headers=headers, timeout=30)
            seen.setdefault(f"{case.method} {case.path}", set()).add(answer.status_code)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)

        for operation in schema.get_all_operations():
            test = hypothesis.given(case=operation.ok().as_strategy())(ask)
            every = list(hypothesis.HealthCheck)
            hypothesis.settings(max_examples=examples, deadline=None, database=None, suppress_health_check=every)(
                test
            )()
        assert len(seen) >= 15, seen
        assert any(200 in statuses for statuses in seen.values())
        assert acquisitions(facility)[0]["name"] == "cells"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/nope", "There is no such page."),
        ("/?since=soon", "since: "),
        ("/?q=" + "a" * 300, "at most 200"),
        ("/?qc=<b>", "qc: "),
    ],
)
def test_a_person_who_mistypes_an_address_gets_a_page(facility: Running, address: str, says: str) -> None:
    page = httpx.get(facility.url + address, headers={"Accept": "text/html"}, trust_env=False)
    assert page.headers["content-type"].startswith("text/html")
    assert page.status_code in (404, 422)
    assert says in page.text
    assert "<b>" not in page.text
    answer = httpx.get(facility.url + address, trust_env=False)
    assert (answer.status_code, list(answer.json())) == (page.status_code, ["detail"])


def test_connections_on_which_nothing_more_comes_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that never end, before the first request and after it, and a manifest that never ends."""
    monkeypatch.setattr(Connection, "headers_s", 0.5)
    with running(tmp_path / "data", stall_s=0.5) as facility:
        address = ("127.0.0.1", int(facility.url.rpartition(":")[2]))
        whole = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        put = f"PUT /datasets/{DATASET}/manifest-sha256.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
        token = facility.agent().http.headers["Authorization"]
        body = f"{put}Authorization: {token}\r\n\r\nabc".encode()
        for sent, says in [(b"", b""), (b"GET / HT", b""), (whole + b"GET /health", b" 200 "), (body, b" 408 ")]:
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(sent)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert says in answer, sent
        # Who takes long to send a whole file is not meant.
        upload = facility.agent().create("data/slow", 20).headers["Location"]
        assert facility.agent().patch(upload, 0, b"x" * 20).status_code == 204
