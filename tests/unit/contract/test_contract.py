"""Names, paths and manifests that are safe everywhere."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract import layout, manifest
from agent.contract.event import Envelope, event_id
from agent.contract.ids import is_slug, slug, uuid7
from agent.contract.topics import Topics
from agent.errors import Damaged, Misconfigured, Rejected

MEMBER = st.lists(
    st.text(st.characters(blacklist_characters="/\\\x7f", blacklist_categories=("C",)), min_size=1, max_size=20).filter(
        lambda level: level not in (".", "..") and level[1:2] != ":"
    ),
    min_size=1,
    max_size=4,
).map("/".join)


def test_uuid7_is_ordered_by_time_and_of_version_7() -> None:
    ids = [uuid7(ms * 1_000_000) for ms in range(1_700_000_000_000, 1_700_000_000_050)]
    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert len(set(ids)) == 50


@given(st.text(max_size=200))
def test_any_name_folds_into_a_slug(name: str) -> None:
    assert is_slug(slug(name))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "CON", "con.txt", "é", "-a", "a.", "a" * 64, "a\n"])
def test_what_is_no_slug(name: str) -> None:
    assert not is_slug(name)


def test_the_dataset_path_of_the_contract() -> None:
    path = layout.dataset_path(
        "lab", "scope", "my cells/1", 1_700_000_000_000_000_000, "00000000-0000-7000-8000-0000deadbeef"
    )
    assert path == "lab/scope/2023/11/14/221320_my-cells-1_deadbeef"
    assert layout.check_dataset_path(path) == path


@pytest.mark.parametrize("path", ["", "a", "../b/c/d/e/f", "a/b/c/d/e", "a/b/c/d/e/f/g", "a/b/c/d/e/..", "/a/b/c/d/e"])
def test_a_forged_dataset_path_is_rejected(path: str) -> None:
    with pytest.raises(Rejected):
        layout.check_dataset_path(path)


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "../a", "a/../b", "a\\b", "C:/a", "a\nb", "a\0b", "a/" + "x" * 1024]
)
def test_a_forged_member_is_rejected(path: str) -> None:
    with pytest.raises(Rejected):
        layout.check_member(path)


@given(st.dictionaries(MEMBER, st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=20))
def test_a_manifest_comes_back_as_it_was(hashes: dict[str, str]) -> None:
    assert manifest.parse(manifest.render(hashes)) == hashes


def test_a_name_with_a_line_separator_of_unicode_is_one_line() -> None:
    hashes = {"data/a\u2028b\u2029c": "0" * 64}
    assert manifest.parse(manifest.render(hashes)) == hashes


def test_sha256sum_reads_the_manifest(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "data").mkdir()
    names = ["data/a b.tif", "data/µ.tif", "x.txt"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    text = manifest.render({name: hashlib.sha256(name.encode()).hexdigest() for name in names})
    (tmp_path / "manifest-sha256.txt").write_bytes(text)
    done = subprocess.run(["sha256sum", "-c", "manifest-sha256.txt"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [b"x", b"\xff", b"0" * 64 + b"  ../a\n", (b"0" * 64 + b"  a\n") * 2])
def test_a_forged_manifest_is_refused(text: bytes) -> None:
    with pytest.raises((Damaged, Rejected)):
        manifest.parse(text)


def test_topics_refuse_wildcards() -> None:
    assert Topics("lab", "scope").lifecycle("verified") == "scope/v1/lab/scope/acquisition/verified"
    for site in ("+", "#", "a/b", "a\nb"):
        with pytest.raises(Misconfigured):
            Topics(site, "scope")


def test_event_ids_are_the_same_for_the_same_step() -> None:
    assert event_id("a", "b") == event_id("a", "b") != event_id("ab", "")
    envelope = Envelope(id="1", source="/a/b", type="t", subject="s", time="now", sequence=1, data={"x": 1})
    assert json.loads(envelope.model_dump_json())["specversion"] == "1.0"
