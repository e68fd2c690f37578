"""Who may do what, and names that try to be something else."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from agent.errors import Misconfigured, Rejected
from agent.facility.naming import check_dataset, check_file
from agent.facility.serve import create_token, revoke_tokens
from agent.facility.settings import Settings, is_loopback
from agent.facility.tokens import TokenFile

from .rig import DATASET, Agent, Running, described, files, running

FOREIGN = DATASET.replace("scope1", "scope2")


def requests(agent: Agent, location: str) -> dict[str, int]:
    """Status of every way to write or ask."""
    return {
        "create": agent.create("data/x", 10).status_code,
        "patch": agent.patch(location, 0, b"0123456789").status_code,
        "head": agent.head(location).status_code,
        "delete": agent.http.delete(location).status_code,
        "commit": agent.commit(b"0" * 64 + b"  a\n").status_code,
        "verify": agent.http.get(f"/datasets/{DATASET}/verify").status_code,
    }


def test_without_a_token_nothing_is_written(facility: Running, agent: Agent) -> None:
    location = agent.create("data/a", 10).headers["Location"]
    for wrong in ("wrong", "scope_" + "x" * 43, "lab/scope1", "#"):
        assert set(requests(facility.agent_with(wrong), location).values()) == {401}, wrong
    bare = httpx.post(facility.url + "/upload", trust_env=False)
    assert (bare.status_code, bare.headers["WWW-Authenticate"]) == (401, "Bearer")
    basic = httpx.post(facility.url + "/upload", auth=("x", "y"), trust_env=False)
    assert basic.status_code == 401


def test_a_token_counts_for_its_own_instrument_only(facility: Running, agent: Agent) -> None:
    location = agent.create("data/a", 10).headers["Location"]
    for name in ("lab/scope2", "lab2/scope1", "lab/scope", "lab/scope11", "someone"):
        assert set(requests(facility.agent(name), location).values()) - {403} <= {409, 404}, name
        statuses = requests(facility.agent(name), location)
        del statuses["verify"]  # A reader may; the others may not.
        assert set(statuses.values()) == {403}, name
    assert agent.create("data/x", 1, FOREIGN).status_code == 403
    assert agent.commit(b"0" * 64 + b"  a\n", FOREIGN).status_code == 403
    assert agent.http.get(f"/datasets/{FOREIGN}/verify").status_code == 403


def test_options_check_a_token_that_is_shown(facility: Running, agent: Agent) -> None:
    assert agent.http.options("/upload").status_code == 204
    assert facility.agent_with("wrong").http.options("/upload").status_code == 401


def test_a_revoked_token_is_refused_at_once(facility: Running, agent: Agent) -> None:
    other = facility.agent("lab/scope2")
    assert agent.create("data/a", 10).status_code == 201
    assert revoke_tokens(facility.data, "lab/scope1") == 1
    assert agent.create("data/b", 10).status_code == 401
    assert other.create("data/b", 10, FOREIGN).status_code == 201


def test_tokens_are_hashed_and_shown_once(tmp_path: Path) -> None:
    token = create_token(tmp_path, "lab/scope1")
    text = (tmp_path / "tokens.txt").read_text()
    assert token not in text
    assert "lab/scope1" in text
    assert stat.S_IMODE((tmp_path / "tokens.txt").stat().st_mode) == 0o600
    again = create_token(tmp_path, "lab/scope1")
    known = TokenFile(tmp_path / "tokens.txt")
    found = [known.identify(one) for one in (token, again)]
    assert [one and one.name for one in found] == ["lab/scope1"] * 2
    assert known.identify("") is None


@pytest.mark.parametrize("name", ["", "/", "a/", "/b", "a/b/c", "../b", "lab/sc ope", "lab/CON", "lab/scope1\nlab/x"])
def test_token_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured):
        create_token(tmp_path, name)
    assert not (tmp_path / "tokens.txt").exists()


def test_names_that_a_file_system_would_mix_up(tmp_path: Path) -> None:
    create_token(tmp_path, "lab/scope1")
    with pytest.raises(Misconfigured, match="letter case"):
        create_token(tmp_path, "Lab/Scope1")


def test_reading_is_open_on_loopback_only(tmp_path: Path) -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "::")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert Settings(data_dir=tmp_path, host="0.0.0.0").reading_is_open is False
    assert Settings(data_dir=tmp_path, host="0.0.0.0", open_reading=True).reading_is_open is True


def test_closed_reading_wants_a_reader(tmp_path: Path) -> None:
    with running(tmp_path / "data", open_reading=False) as facility:
        agent = facility.agent()
        assert agent.deliver(files()).status_code == 200
        reader = create_token(facility.data, "alice")
        other = create_token(facility.data, "lab/scope2")
        everywhere = ["/", "/events", "/api/fleet", "/api/acquisitions", "/api/acquisitions/x"]
        own = [f"/view/{DATASET}", f"/files/{DATASET}/methods.txt"]
        for path in everywhere + own:
            stranger = httpx.get(facility.url + path, trust_env=False)
            assert stranger.status_code == 401, path
            assert stranger.headers["WWW-Authenticate"].startswith("Basic")
            assert httpx.get(facility.url + path, auth=("x", other), trust_env=False).status_code == 403, path
            wrong = httpx.get(facility.url + path, headers={"Authorization": "Basic !"}, trust_env=False)
            assert wrong.status_code == 401
        for path in [*own, "/", "/api/fleet"]:
            assert httpx.get(facility.url + path, auth=("any", reader), trust_env=False).status_code == 200, path
        for path in own:
            assert agent.http.get(path).status_code == 200, path
        assert agent.http.get("/api/fleet").status_code == 403
        assert httpx.get(facility.url + "/health", trust_env=False).json()["status"] == "ok"


@pytest.mark.parametrize(
    "dataset",
    [
        "",
        "lab/scope1",
        "lab/scope1/2026/03/04/../x",
        "../scope1/2026/03/04/101112_a_0badcafe",
        "lab/scope1/../../../x",
        "/lab/scope1/2026/03/04/101112_a_0badcafe",
        "lab/scope1/2026/03/04/101112_a_0badcafe/",
        "lab/scope1/2026/03/04/101112_a_0badcafe/data",
        "lab/scope1/2026/03/04/CON",
        "lab/scope1/2026/03/04/101112_a.",
        "lab/scope1/year/03/04/101112_a_0badcafe",
        "lab/scope1/2026/03/04/101112_a\x00_0badcafe",
        "lab/scope1/2026/03/04/101112_ä_0badcafe",
        "lab\\scope1/2026/03/04/101112_a_0badcafe/x",
        "NUL/scope1/2026/03/04/101112_a_0badcafe",
        "lab/scope1/2026/03/04/" + "1" * 200,
    ],
)
def test_dataset_paths_that_are_none(dataset: str) -> None:
    with pytest.raises(Rejected):
        check_dataset(dataset)


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../x", "a/../b", "/etc/passwd", "a//b", "a/", "a\\b", "C:/x", "a\0b", "a\nb",
     "manifest-sha256.txt", "MANIFEST-sha256.txt", "manifest-sha256.txt/x", ".manifest-sha256.txt.draft",
     ".manifest-sha256.txt.draft/x", "x" * 256, "a/" * 600 + "b"],
)  # fmt: skip
def test_file_paths_that_are_none(facility_of_module: Agent, path: str) -> None:
    with pytest.raises(Rejected):
        check_file(path)
    if path:
        assert facility_of_module.create(path, 1).status_code == 400


@pytest.mark.parametrize("path", ["data/a:b", "data/CON.txt", "nul", "data/a. ", "data/a.", "data/a?.tif", "COM1/x"])
def test_names_that_windows_cannot_store(path: str) -> None:
    with pytest.raises(Rejected):
        check_file(path, windows=True)
    assert check_file(path, windows=False) == path


@pytest.mark.parametrize("path", ["data/console.txt", "data/ä ö.tif", "data/.zattrs", "a.b.c", "data/_x", "data/-1"])
def test_names_that_every_system_can_store(path: str) -> None:
    assert check_file(path, windows=True) == path


def test_forged_and_oversized_headers(facility_of_module: Agent) -> None:
    http = facility_of_module.http
    for told in ("", "dataset", "dataset !!!", "path eA==", "dataset /w==,path eA=="):
        answer = http.post("/upload", headers={"Upload-Length": "1", "Upload-Metadata": told})
        assert answer.status_code == 400, told
    long = described(DATASET, "x") + ",more " + "A" * 9000
    assert http.post("/upload", headers={"Upload-Length": "1", "Upload-Metadata": long}).status_code == 413
    with httpx.Client(base_url=http.base_url, trust_env=False) as raw:
        # Being hung up on is an answer too.
        with suppress(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            assert raw.get("/health", headers={"X-Long": "x" * 200_000}).status_code in (400, 431)
        assert raw.get("/health").status_code == 200
    for upload in ("../../tokens.txt", "%2e%2e%2ftokens.txt", "A" * 32, "0" * 31, "0" * 32):
        assert facility_of_module.head(f"/upload/{upload}").status_code in (404, 405), upload
