"""Downloads: the zip and the documents; nothing leaves the dataset, and nothing wrong leaves it as if it were right."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import httpx
import pytest

from agent.contract.manifest import parse
from agent.errors import Rejected
from agent.facility.app import open_storage
from agent.facility.settings import Settings
from agent.facility.zipping import zip_blocks

from .rig import DATASET, Agent, Running, files
from .test_facility_datasets import hashes

LEAF = DATASET.rpartition("/")[2]


def get(facility: Running, path: str) -> httpx.Response:
    return httpx.get(facility.url + path, trust_env=False)


def test_the_zip_holds_everything_once_and_verifies(agent: Agent, facility: Running, tmp_path: Path) -> None:
    wanted = files() | {"data/ä b#c.txt": b"odd", "data/empty": b"", "data/deep/er/x.bin": bytes(3 << 20)}
    agent.deliver(wanted)
    answer = get(facility, f"/datasets/{DATASET}/zip")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert f'filename="{LEAF}.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert set(names) == {f"{LEAF}/{path}" for path in [*wanted, "manifest-sha256.txt"]}
        assert len(names) == len(set(names))
        archive.extractall(tmp_path)
    assert {path: (tmp_path / LEAF / path).read_bytes() for path in wanted} == wanted
    assert parse((tmp_path / LEAF / "manifest-sha256.txt").read_bytes()) == hashes(wanted)
    assert get(facility, f"/datasets/{DATASET}/zip").content == answer.content, "the same dataset, the same zip"


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "data/../../evil", "a\\..\\evil", "C:/evil"])
def test_zip_slip_a_manifest_that_leads_out_is_no_zip(tmp_path: Path, name: str) -> None:
    """Only somebody who writes into the store by hand gets so far."""
    place = tmp_path / "datasets" / DATASET
    place.mkdir(parents=True)
    (tmp_path / "datasets" / "evil").write_text("secret")
    (place / "manifest-sha256.txt").write_text(f"{'0' * 64}  {name}\n")
    storage = open_storage(Settings(data_dir=tmp_path))
    with pytest.raises(Rejected):
        storage.manifest(DATASET)
    with pytest.raises(Rejected):
        list(zip_blocks(storage, DATASET, {name: "0" * 64}))


def test_zip_slip_a_link_in_a_dataset_is_not_followed(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    place = facility.data / "datasets" / DATASET
    (facility.data / "secret").write_bytes(b"Images were acquired on a microscope.")
    (place / "methods.txt").unlink()
    (place / "methods.txt").symlink_to(facility.data / "secret")
    with pytest.raises(httpx.RemoteProtocolError):
        get(facility, f"/datasets/{DATASET}/zip")


def test_a_zip_with_other_bytes_than_the_manifest_is_never_finished(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    (facility.data / "datasets" / DATASET / "methods.txt").write_bytes(b"rotten")
    with pytest.raises(httpx.RemoteProtocolError):
        get(facility, f"/datasets/{DATASET}/zip")
    (one,) = get(facility, "/api/quarantine").json()
    assert "methods.txt" in one["reason"]
    assert get(facility, f"/datasets/{DATASET}/zip").status_code == 409


def test_documents_by_name(agent: Agent, facility: Running) -> None:
    xml = b'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/>'
    agent.deliver(files() | {"metadata.companion.ome": xml, "ro-crate-metadata.json": b"{}"})
    for name, media, body in [
        ("record", "application/json", files()["acquisition.json"]),
        ("ome-xml", "application/xml", xml),
        ("crate", "application/ld+json", b"{}"),
        ("methods", "text/plain; charset=utf-8", files()["methods.txt"]),
    ]:
        answer = get(facility, f"/api/datasets/{DATASET}/{name}")
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, media, body)
        assert "sandbox" in answer.headers["content-security-policy"], "an XML can carry a script"
    assert get(facility, f"/api/datasets/{DATASET}/tokens").status_code == 422
    assert get(facility, f"/api/datasets/{DATASET.replace('cells', 'none')}/record").status_code == 404
    assert get(facility, f"/datasets/{DATASET.replace('cells', 'none')}/zip").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "slice_"),
    [
        ("bytes=0-0", 206, slice(0, 1)), ("bytes=5-", 206, slice(5, None)), ("bytes=-4", 206, slice(-4, None)),
        ("bytes=3-9999", 206, slice(3, None)), ("bytes=9999-", 416, None), ("bytes=5-2", 416, None),
        ("bytes=-", 200, slice(None)), ("bytes=a-b", 200, slice(None)), ("rows=1-2", 200, slice(None)),
    ],
)  # fmt: skip
def test_ranges(agent: Agent, facility: Running, asked: str, status: int, slice_: slice | None) -> None:
    body = files()["methods.txt"]
    agent.deliver(files())
    answer = httpx.get(facility.url + f"/files/{DATASET}/methods.txt", headers={"Range": asked}, trust_env=False)
    assert answer.status_code == status
    if slice_ is not None:
        assert answer.content == body[slice_]


def test_what_a_download_would_be_can_be_asked(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    address = facility.url + f"/files/{DATASET}/methods.txt"
    told = httpx.head(address, headers={"Range": "bytes=2-"}, trust_env=False)
    body = httpx.get(address, headers={"Range": "bytes=2-"}, trust_env=False)
    assert (told.status_code, told.content) == (206, b"")
    for name in ("content-length", "content-range", "accept-ranges", "content-security-policy", "content-disposition"):
        assert told.headers[name] == body.headers[name]
    assert httpx.head(f"{address}x", trust_env=False).status_code == 404
    for path in ("/health", "/"):
        assert httpx.head(facility.url + path, trust_env=False).status_code == 200
