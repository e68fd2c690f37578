"""Commit, verify, re-delivery, download: nothing visible until it is whole, nothing changed after."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from agent.contract.manifest import parse
from agent.facility.page.render import size

from .rig import DATASET, Agent, Running, files, running


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def hashes(dataset: dict[str, bytes]) -> dict[str, str]:
    return {path: sha(body) for path, body in dataset.items()}


def place(facility: Running) -> Path:
    return facility.data / "datasets" / DATASET


def test_a_dataset_appears_whole_or_not_at_all(agent: Agent, facility: Running) -> None:
    wanted = files()
    for path, body in list(wanted.items())[:-1]:
        agent.send(path, body)
    refused = agent.commit(hashes(wanted))
    assert refused.status_code == 409
    assert (refused.json()["verified"], refused.json()["missing"]) == (False, ["methods.txt"])
    assert not (facility.data / "datasets" / "lab").exists()
    agent.send("methods.txt", wanted["methods.txt"])
    done = agent.commit(hashes(wanted))
    assert (done.status_code, done.json()["verified"], done.json()["files"]) == (200, True, hashes(wanted))
    assert {path: (place(facility) / path).read_bytes() for path in wanted} == wanted
    assert not list((facility.data / ".incoming").iterdir())
    assert not list((facility.data / ".staging").iterdir())


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_manifest_is_what_sha256sum_reads(agent: Agent, facility: Running) -> None:
    agent.deliver(files() | {"data/häuschen 1.tif": b"x"})
    checked = subprocess.run(["sha256sum", "-c", "manifest-sha256.txt"], cwd=place(facility), capture_output=True)
    assert checked.returncode == 0, checked.stdout


def test_a_file_that_differs_is_named_and_can_be_replaced(agent: Agent) -> None:
    wanted = files()
    for path, body in wanted.items():
        agent.send(path, body)
    agent.send("data/cells.ome.tif", b"other bytes")
    refused = agent.commit(hashes(wanted))
    assert (refused.status_code, refused.json()["different"]) == (409, ["data/cells.ome.tif"])
    assert refused.json()["files"]["data/cells.ome.tif"] == sha(b"other bytes")
    agent.send("data/cells.ome.tif", wanted["data/cells.ome.tif"])
    assert agent.commit(hashes(wanted)).status_code == 200


def test_bytes_that_rot_before_the_commit_are_seen(agent: Agent, facility: Running) -> None:
    wanted = files()
    for path, body in wanted.items():
        agent.send(path, body)
    (facility.data / ".staging" / DATASET / "files/methods.txt").write_bytes(b"rotten")
    assert agent.commit(hashes(wanted)).json()["different"] == ["methods.txt"]


def test_a_file_that_the_manifest_does_not_name_is_left_out(agent: Agent, facility: Running) -> None:
    wanted = files()
    agent.send("data/renamed-later.tif", b"old name")
    answer = agent.deliver(wanted)
    assert (answer.status_code, answer.json()["unlisted"]) == (200, ["data/renamed-later.tif"])
    assert "data/renamed-later.tif" not in answer.json()["files"]
    assert not (place(facility) / "data/renamed-later.tif").exists()


def test_after_the_commit_nothing_changes(agent: Agent, facility: Running) -> None:
    wanted = files()
    begun = agent.create("data/late.tif", 4).headers["Location"]
    agent.deliver(wanted)
    again = agent.commit(hashes(wanted))
    assert (again.status_code, again.json()["verified"]) == (200, True)
    for other in (wanted | {"methods.txt": b"other"}, {"methods.txt": wanted["methods.txt"]}, wanted | {"x": b"x"}):
        refused = agent.commit(hashes(other))
        assert (refused.status_code, refused.json()["verified"]) == (409, False)
    assert agent.send("methods.txt", b"other").status_code == 409
    assert agent.create("new.txt", 4).status_code == 409
    assert agent.patch(begun, 0, b"late").status_code == 404, "ended with the commit"
    assert parse((place(facility) / "manifest-sha256.txt").read_bytes()) == hashes(wanted)
    assert (place(facility) / "methods.txt").read_bytes() == wanted["methods.txt"]


def test_verify_hashes_what_is_stored_now(agent: Agent, facility: Running) -> None:
    url = f"/datasets/{DATASET}/verify"
    assert agent.http.get(url).status_code == 404
    wanted = files()
    agent.send("methods.txt", wanted["methods.txt"])
    early = agent.http.get(url)
    assert (early.status_code, early.json()["verified"]) == (409, False)
    assert early.json()["files"] == {"methods.txt": sha(wanted["methods.txt"])}
    agent.deliver(wanted)
    assert agent.http.get(url).json() == {
        "dataset": DATASET, "verified": True, "files": hashes(wanted), "missing": [], "different": [], "unlisted": [],
    }  # fmt: skip
    (place(facility) / "data/cells.ome.tif").write_bytes(b"flipped")
    (place(facility) / "methods.txt").unlink()
    (place(facility) / "planted").write_bytes(b"?")
    answer = agent.http.get(url).json()
    assert answer["verified"] is False
    assert answer["different"] == ["data/cells.ome.tif"]
    assert (answer["missing"], answer["unlisted"]) == (["methods.txt"], ["planted"])


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"not a manifest\n",
        b"\xff\xfe",
        b"0" * 64 + b"  ../../escape\n",
        b"0" * 64 + b"  /etc/passwd\n",
        b"0" * 64 + b"  a\\b\n",
        (b"0" * 64 + b"  a\n") * 2,
    ],
)
def test_forged_manifests(facility_of_module: Agent, manifest: bytes) -> None:
    facility_of_module.send("a", b"a")
    answer = facility_of_module.commit(manifest)
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_a_manifest_that_is_too_long(tmp_path: Path) -> None:
    with running(tmp_path / "data", max_manifest_bytes=1000) as facility:
        assert facility.agent().commit(b"x" * 1001).status_code == 413


def test_a_restart_between_upload_and_commit(tmp_path: Path) -> None:
    data, wanted = tmp_path / "data", files()
    with running(data) as facility:
        agent = facility.agent()
        for path, body in wanted.items():
            agent.send(path, body)
    ledger = data / ".staging" / DATASET / "received.jsonl"
    # A power cut in the middle of the last line costs a hash, nothing else.
    ledger.write_bytes(ledger.read_bytes()[:-20])
    with running(data) as facility:
        assert facility.agent().commit(hashes(wanted)).status_code == 200


def test_download(agent: Agent, facility: Running) -> None:
    wanted = files() | {"data/page.html": b"<script>alert(1)</script>", "data/ä b#c?.txt": b"odd"}
    agent.deliver(wanted)
    url = facility.url + f"/files/{DATASET}/"
    with httpx.Client(trust_env=False) as reader:
        page = reader.get(url + "data/page.html")
        assert page.content == wanted["data/page.html"]
        assert page.headers["content-disposition"].startswith("attachment")
        assert page.headers["content-type"] == "application/octet-stream"
        assert "sandbox" in page.headers["content-security-policy"]
        assert reader.get(url + "data/%C3%A4%20b%23c%3F.txt").content == b"odd"
        assert reader.get(url + "methods.txt", headers={"Range": "bytes=0-5"}).content == b"Images"
        assert parse(reader.get(url + "manifest-sha256.txt").content) == hashes(wanted)
        assert reader.get(url + "none.txt").status_code == 404


def test_download_never_leaves_the_dataset(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    (facility.data / "secret").write_text("hidden")
    (place(facility) / "link").symlink_to(facility.data / "secret")
    staged = DATASET.replace("cells", "staged")
    agent.send("methods.txt", b"not visible yet", staged)
    for path in (
        f"{DATASET}/../../../../../../secret",
        f"{DATASET}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret",
        f"{DATASET}/..%2f..%2f..%2f..%2f..%2f..%2f..%2fsecret",
        f"{DATASET}/..%5c..%5csecret",
        f"{DATASET}/link",
        f"{DATASET}/",
        f"{DATASET}//etc/passwd",
        f"{DATASET}/data",
        f"{DATASET}/methods.txt%00",
        f"{staged}/methods.txt",
        "..%2ftokens.txt",
        "tokens.txt",
        "",
    ):
        # Sent as they are: a client that tidies paths up would hide the attempt.
        answer = httpx.get(httpx.URL(facility.url).copy_with(raw_path=f"/files/{path}".encode()), trust_env=False)
        assert answer.status_code in (400, 404), path
        assert b"hidden" not in answer.content


def test_the_page_of_a_dataset_escapes_every_field(agent: Agent, facility: Running) -> None:
    evil = "<img src=x onerror=alert(1)>\"'{{7*7}}"
    value = {"value": evil, "unit": evil, "source": "live", "conflict": evil, "taken_at": evil}
    changes = {
        "name": evil,
        "software": {"name": evil},
        "completeness": {evil: {"filled": 1, "required": 2, "missing": [evil]}},
        "channels": [{"name": evil, "settings": {evil: value}, "components": [evil]}],
        "hardware": {
            "microscope": {evil: value},
            "components": [{"id": evil, "kind": evil, "device": evil, "label": evil, "attributes": {evil: value}}],
            "in_use": [evil],
        },
        "calibration": {"metrics": {evil: {"value": 1.0, "unit": evil, "measured_at": evil}}},
        "session": {"user": value, "project": value, "sample": value},
        "environment": {evil: value},
        "property_changes": [{"at": evil, "device": evil, "property": evil, "value": evil}],
        "integrity": {"notes": [evil]},
        "actual": {"frames": 1, "shape": [1], "axes": [evil]},
    }
    wanted = files(**changes) | {"methods.txt": evil.encode(), "data/<img src=x onerror=alert(2)>": b"x"}
    assert agent.deliver(wanted).status_code == 200
    for path in (f"/view/{DATASET}", "/", '/?q=<img src=x>&instrument="><img src=x>'):
        page = httpx.get(facility.url + path, trust_env=False)
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "49" not in page.text.split("<main")[1].split("integrity")[0] or "{{7*7}}" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;img" in httpx.get(facility.url + f"/view/{DATASET}", trust_env=False).text


def test_every_file_of_the_page_has_its_size(agent: Agent, facility: Running) -> None:
    """The record cannot say its own, nor that of what is made of it."""
    agent.deliver(sent := files())
    page = httpx.get(facility.url + f"/view/{DATASET}", trust_env=False).text
    sizes = re.findall(r'download>([^<]+)</a></th><td class="number" data-label="size">([^<]+)</td>', page)
    assert {name for name, _ in sizes} == {*sent, "manifest-sha256.txt"}
    assert dict(sizes)["acquisition.json"] == size(len(sent["acquisition.json"]))
    assert all(said[0].isdigit() for _, said in sizes), sizes


def test_a_dataset_without_a_readable_record_is_kept_and_said_so(agent: Agent, facility: Running) -> None:
    agent.deliver({"data/a.tif": b"a", "acquisition.json": b'{"id": 5}'})
    bare = DATASET.replace("cells", "bare")
    agent.deliver({"data/a.tif": b"a"}, bare)
    page = httpx.get(facility.url + f"/view/{DATASET}", trust_env=False)
    assert "no readable record" in page.text
    assert "data/a.tif" in page.text
    problems = {item["dataset"]: item["problem"] for item in acquisitions(facility)}
    assert "cannot be read" in problems[DATASET]
    assert "has no acquisition.json" in problems[bare]


def test_a_record_that_names_another_instrument_is_shown_where_it_lies(agent: Agent, facility: Running) -> None:
    agent.deliver(files(site="rival", instrument="scope9"))
    (item,) = acquisitions(facility)
    assert (item["site"], item["instrument"]) == ("lab", "scope1")
    assert item["problem"] == "its record names rival/scope9"


def acquisitions(facility: Running, **query: str) -> list[dict[str, str]]:
    answer = httpx.get(facility.url + "/api/acquisitions", params=query, trust_env=False)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.content)["items"]
