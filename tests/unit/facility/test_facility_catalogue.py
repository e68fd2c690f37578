"""The catalogue: search, pages, and that it can be thrown away."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from agent.errors import Busy, Misconfigured
from agent.facility.catalogue import Catalogue
from agent.facility.refusal import Refusal, Unknown
from agent.facility.search import Entry, Query
from agent.facility.serve import serve
from agent.facility.settings import Settings

from .rig import DATASET, Agent, Running, files, free_port, running, wait_for
from .test_facility_datasets import acquisitions


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    made = Catalogue(f"sqlite:///{tmp_path / 'c.sqlite'}")
    for n in range(25):
        made.put(
            Entry(
                dataset=f"lab/scope{n % 2}/2026/03/04/{n:06}_cells_{n:08x}",
                id=f"id-{n}",
                site="lab",
                instrument=f"scope{n % 2}",
                name=f"cells {n}",
                # Some began in the same instant: a page must not lose them.
                started_ns=(n // 3) * 10**9,
                files=2,
                bytes=n,
                sample="100%_pure" if n == 7 else None,
                channels=["DAPI"],
            ),
            text="Plan Apo 60x",
        )
    yield made
    made.close()


def test_pages_show_everything_once_newest_first(catalogue: Catalogue) -> None:
    seen: list[Entry] = []
    cursor = None
    while True:
        page = catalogue.find(Query(limit=4, cursor=cursor))
        seen += page.items
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == len({entry.dataset for entry in seen}) == 25
    assert seen == sorted(seen, key=lambda entry: (entry.started_ns, entry.dataset), reverse=True)


def test_search(catalogue: Catalogue) -> None:
    def found(**query: object) -> set[str]:
        return {entry.id for entry in catalogue.find(Query.model_validate({"limit": 100} | query)).items}

    assert len(found(q="apo DAPI 60X")) == 25
    assert found(q="apo missing") == set()
    # Signs that mean something to LIKE mean themselves.
    assert found(q="100%_p") == {"id-7"}
    assert found(q="'; drop table datasets; --") == set()
    assert len(found(instrument="lab/scope1")) == len(found(instrument="scope1")) == 12
    assert found(instrument="other/scope1") == set()
    assert found(since_ns=8 * 10**9) == {"id-24"}
    assert found(since_ns=10**9, until_ns=2 * 10**9) == {"id-3", "id-4", "id-5"}


def test_get_totals_and_replacing(catalogue: Catalogue) -> None:
    assert catalogue.get("id-3").name == "cells 3"
    with pytest.raises(Unknown):
        catalogue.get("none")
    catalogue.put(catalogue.get("id-3").model_copy(update={"name": "renamed"}))
    assert catalogue.get("id-3").name == "renamed"
    totals = {row.instrument: (row.datasets, row.bytes) for row in catalogue.instruments()}
    assert totals == {"scope0": (13, sum(range(0, 25, 2))), "scope1": (12, sum(range(1, 25, 2)))}


@pytest.mark.parametrize("cursor", ["x", "!", "bnVsbA", "WzFd", "WyJhIiwiYiJd", "WzFlOTksImEiXQ", "\u00e4"])
def test_cursors_that_are_none(catalogue: Catalogue, cursor: str) -> None:
    with pytest.raises(Refusal):
        catalogue.find(Query(cursor=cursor))


def test_what_a_record_says_can_be_found(agent: Agent, facility: Running) -> None:
    value = {"value": "A. Costa", "source": "session"}
    objective = {"id": "o", "kind": "Objective", "label": "Plan Apo 60x/1.40", "attributes": {}}
    agent.deliver(
        files(
            session={"user": value, "confidence": 0.9},
            hardware={"components": [objective], "in_use": ["o"]},
            channels=[{"name": "mCherry"}],
        )
    )
    for word in ("costa", "plan apo", "mcherry", "CELLS", "scope1"):
        assert [item["dataset"] for item in acquisitions(facility, q=word)] == [DATASET], word
    day = {"since": "2026-03-04T00:00:00Z", "until": "2026-03-05T00:00:00Z"}
    (item,) = acquisitions(facility, instrument="lab/scope1", **day)
    assert (item["frames"], item["user"], item["objective"]) == (60, "A. Costa", "Plan Apo 60x/1.40")
    minimum = item["completeness"]["minimum"]
    assert (minimum["filled"], minimum["required"], minimum["missing"]) == (12, 12, [])
    assert acquisitions(facility, until="2026-03-04T00:00:00Z") == []
    detail = httpx.get(f"{facility.url}/api/acquisitions/{item['id']}", trust_env=False).json()
    assert detail["record"]["name"] == "cells"
    assert set(detail["files"]) == set(files())
    for bad in ({"limit": "0"}, {"limit": "9999"}, {"since": "yesterday"}, {"since": "2026-03-04T00:00:00"}):
        assert httpx.get(facility.url + "/api/acquisitions", params=bad, trust_env=False).status_code == 422
    assert httpx.get(facility.url + "/api/acquisitions", params={"cursor": "x"}, trust_env=False).status_code == 400
    assert httpx.get(facility.url + "/api/acquisitions/none", trust_env=False).status_code == 404


@pytest.mark.parametrize("harm", ["deleted", "damaged", "older"])
def test_the_catalogue_is_made_again_from_the_datasets(tmp_path: Path, harm: str) -> None:
    data = tmp_path / "data"
    with running(data) as facility:
        facility.agent().deliver(files())
        gone = DATASET.replace("cells", "gone")
        facility.agent().deliver(files(), gone)
        assert len(acquisitions(facility)) == 2
    path = data / "catalogue.sqlite"
    if harm == "deleted":
        path.unlink()
    elif harm == "damaged":
        path.write_bytes(b"\0garbage" * 4000)
    else:
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as db:
            db.execute(sa.text("update catalogue set schema = 0"))
        engine.dispose()
    shutil.rmtree(data / "datasets" / gone)
    with running(data) as facility:
        wait_for(lambda: len(acquisitions(facility)) == 1, "the catalogue")
        assert acquisitions(facility)[0]["name"] == "cells"


def test_a_port_that_is_taken_and_a_host_that_is_not_ours(facility: Running, tmp_path: Path) -> None:
    port = int(facility.url.rpartition(":")[2])
    with pytest.raises(Busy, match=str(port)):
        serve(Settings(data_dir=tmp_path / "other", port=port))
    with pytest.raises(Misconfigured, match="not an address"):
        serve(Settings(data_dir=tmp_path / "other", host="203.0.113.1"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds(tmp_path: Path, number: int) -> None:
    port = free_port()
    code = (
        "import sys, pathlib\n"
        "from agent.facility.serve import serve\n"
        "from agent.facility.settings import Settings\n"
        "assert 'fastapi' not in sys.modules and 'uvicorn' not in sys.modules\n"
        f"serve(Settings(data_dir=pathlib.Path(sys.argv[1]), port={port}), lambda port: print(port, flush=True))\n"
        "print('returned', file=sys.stderr)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(port)
    with httpx.stream("GET", f"http://127.0.0.1:{port}/events", trust_env=False) as page:
        assert page.status_code == 200
        before = time.monotonic()
        process.send_signal(number)
        _, told = process.communicate(timeout=10)
    assert time.monotonic() - before < 5
    assert (process.returncode, told) == (0, "returned\n")
