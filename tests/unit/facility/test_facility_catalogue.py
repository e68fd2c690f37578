"""The catalogue: search, pages, and that it can be thrown away."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from agent.contract.record import Tier
from agent.errors import Busy, Misconfigured
from agent.facility.catalogue import Catalogue, Measurement, Quarantined
from agent.facility.refusal import Refusal, Unknown
from agent.facility.search import Entry, Query
from agent.facility.serve import serve
from agent.facility.settings import Settings
from agent.facility.tables import datasets, details

from .rig import DATASET, Agent, Running, files, free_port, running, wait_for
from .stores import empty, postgresql
from .test_facility_datasets import acquisitions


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every database that the catalogue is made for."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'c.sqlite'}"
    address = str(request.getfixturevalue("server"))
    empty(address)
    return address


def entry(n: int, **more: object) -> Entry:
    return Entry.model_validate(
        {
            "dataset": f"lab/scope{n % 2}/2026/03/04/{n:06}_cells_{n:08x}",
            "id": f"id-{n}",
            "site": "lab",
            "instrument": f"scope{n % 2}",
            "name": f"cells {n}",
            # Some began in the same instant: a page must not lose them.
            "started_ns": (n // 3) * 10**9,
            "files": 2,
            "bytes": n,
            "sample": "100%_pure" if n == 7 else None,
            "channels": ["DAPI"],
        }
        | more
    )


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    made = Catalogue(url)
    for n in range(25):
        made.put(entry(n), text="Plan Apo 60x")
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


def test_fields_can_be_asked_for_one_by_one(catalogue: Catalogue) -> None:
    tiers = {"tier1": Tier(filled=3, required=3), "rembi": Tier(filled=1, required=2)}
    named = {"user": "Ada Lovelace", "project": "P12", "sample": "HeLa", "objective": "Plan Apo 60x/1.40"}
    catalogue.put(entry(30, **named, channels=["GFP", "mCherry"], completeness=tiers, complete=80, qc="fail"))
    catalogue.put(entry(31, user="Grace", complete=100, qc="pass", completeness={"rembi": Tier(filled=2, required=2)}))

    def found(**query: object) -> list[str]:
        return sorted(one.id for one in catalogue.find(Query.model_validate({"limit": 100} | query)).items)

    for name, part in [
        ("user", "LOVE"),
        ("project", "p12"),
        ("sample", "hela"),
        ("objective", "60X"),
        ("channel", "cher"),
    ]:
        assert found(**{name: part}) == ["id-30"], name
        assert found(**{name: "nothing"}) == []
    assert found(channel="gfp", user="ada", qc="fail", tier="TIER1") == ["id-30"]
    assert found(channel="gfp\nm") == ["id-30"], "only what is typed, but no sign means anything special"
    assert found(complete=80) == ["id-30", "id-31"]
    assert found(complete=81) == found(tier="rembi") == found(qc="pass") == ["id-31"]
    assert len(found(qc="none")) == 25
    assert found(user="a\0da") == []
    (whole,) = catalogue.find(Query(user="ada")).items
    assert (whole.completeness, whole.channels) == (tiers, ["GFP", "mCherry"])


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Mu\u0308ller", "M\u00fcller"), ("M\u00fcller", "MU\u0308LLER"), ("Stra\u00dfe", "STRASSE"),
        ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3"),
        ("\u30d5\u3099", "\u30d6"),
        ("50% a_b\\c", "50% A_B\\C"),
    ],
)  # fmt: skip
def test_a_name_is_found_however_its_letters_were_typed(catalogue: Catalogue, stored: str, typed: str) -> None:
    catalogue.put(entry(40, user=stored, channels=[stored]))
    for query in (Query(user=typed), Query(q=typed), Query(channel=typed)):
        assert [one.id for one in catalogue.find(query).items] == ["id-40"]
    assert catalogue.at(entry(40).dataset).user == stored, "what is shown stays as it was written"


def test_totals_beyond_what_a_database_counts(catalogue: Catalogue) -> None:
    """Forged sizes must not keep anybody from seeing the fleet."""
    for number in (50, 51, 52):
        catalogue.put(entry(number, bytes=2**63 - 1, frames=2**63 - 1))
    assert max(row.bytes for row in catalogue.instruments()) > 2**62
    assert max(row.frames for row in catalogue.usage()) > 2**62
    # Also inside of what is stored as JSON: it must be read again.
    catalogue.put(entry(53, completeness={"tier1": Tier(filled=2**70, required=1)}))
    assert catalogue.find(Query(limit=1, instrument="lab/scope1")).items[0].completeness["tier1"].filled == 2**70


def test_a_row_that_cannot_be_read_keeps_nobody_from_writing(catalogue: Catalogue) -> None:
    """The database is not locked by a statement that ended in the middle."""
    with catalogue._engine.begin() as db:
        db.execute(
            details.update().where(details.c.dataset == entry(9).dataset).values(completeness={"t": {"filled": None}})
        )
    for _ in range(10):
        with pytest.raises(ValidationError):
            catalogue.find(Query(limit=100))
        with catalogue._engine.begin() as other:
            other.execute(datasets.update().values(checked_ns=1))
        catalogue.put(entry(60))


def test_what_is_in_quarantine_is_listed_and_not_found(catalogue: Catalogue) -> None:
    bad = entry(3)
    one = Quarantined(
        dataset=bad.dataset, site="lab", instrument="scope1", reason="1 different (a)", since="2026-01-01", stored=True
    )
    catalogue.isolate(one)
    catalogue.isolate(one.model_copy(update={"reason": "2 different"}))
    assert [(q.dataset, q.reason) for q in catalogue.quarantined()] == [(bad.dataset, "2 different")]
    assert bad.id not in {item.id for item in catalogue.find(Query(limit=100)).items}
    assert catalogue.at(bad.dataset).id == bad.id, "its page still says what is wrong"
    assert catalogue.release(bad.dataset)
    assert not catalogue.release(bad.dataset)
    assert len(catalogue.find(Query(limit=100)).items) == 25


def test_measurements_once_each_and_usage_by_month(catalogue: Catalogue) -> None:
    one = Measurement(
        site="lab", instrument="scope1", metric="gain", measured_at="2026-03-01T08:00:00Z", value=2.0, bound=3.0,
        sense="at most", status="pass", low=1.9, high=2.1, unit="electron",
    )  # fmt: skip
    catalogue.measure([one, one.model_copy(update={"measured_at": "2026-02-01T08:00:00Z", "value": 1.0})])
    catalogue.put(entry(40), measured=[one])
    assert [m.value for m in catalogue.trend("lab/scope1", "gain")] == [1.0, 2.0]
    assert catalogue.trend()[1] == one
    assert catalogue.trend("lab/scope0") == catalogue.trend(metric="offset") == []
    march = 1_772_600_000 * 10**9
    times = {"started_at": "2026-03-04T05:00:00Z", "finished_at": "2026-03-04T05:10:00Z"}
    catalogue.put(entry(41, started_ns=march, frames=7, bytes=10, **times))
    catalogue.put(entry(43, started_ns=march + 1, frames=5, bytes=5, finished_at="nonsense"))
    (row,) = [row for row in catalogue.usage("scope1") if row.month == "2026-03"]
    assert (row.datasets, row.bytes, row.frames, row.seconds) == (2, 15, 12, 600.0)


def test_the_longest_unchecked_comes_first(catalogue: Catalogue) -> None:
    for item in catalogue.find(Query(limit=100)).items:
        catalogue.checked(item.dataset, 100 + item.started_ns // 10**9)
    assert catalogue.unchecked(0) is None
    assert catalogue.unchecked(10**9) in {entry(n).dataset for n in range(3)}
    catalogue.put(entry(50))
    assert catalogue.unchecked(0) == entry(50).dataset


def test_what_databases_refuse_is_kept_all_the_same(catalogue: Catalogue) -> None:
    odd = entry(60, name="nul\0 half\ud800", user="\0", frames=10**30, bytes=2**63, channels=["\0"])
    catalogue.put(odd, text="\0 more\ud83d")
    kept = catalogue.at(odd.dataset)
    assert (kept.frames, kept.bytes) == (None, None)
    assert "\0" not in kept.name
    with pytest.raises(Unknown):
        catalogue.get("\0")


def test_two_replicas_share_a_database(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        replicas = list(pool.map(lambda _: Catalogue(url), range(4)))
        list(pool.map(lambda n: replicas[n % 4].put(entry(n % 5, frames=n)), range(40)))
    assert {len(one.datasets()) for one in replicas} == {5}
    for one in replicas:
        one.close()


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


def test_a_catalogue_removed_while_the_facility_runs_is_made_again(agent: Agent, facility: Running) -> None:
    agent.deliver(files())
    agent.send("data/half.tif", b"x", DATASET.replace("cells", "refused"))
    agent.commit({"data/half.tif": "0" * 64}, DATASET.replace("cells", "refused"))
    for file in facility.data.glob("catalogue.sqlite*"):
        file.unlink()
    wait_for((facility.data / "catalogue.sqlite").is_file, "another catalogue")
    wait_for(lambda: [item["dataset"] for item in acquisitions(facility)] == [DATASET], "its rows")
    wait_for(lambda: agent.http.get("/api/quarantine").json(), "the quarantine")
    assert agent.deliver(files(), DATASET.replace("cells", "later")).status_code == 200
    assert len(acquisitions(facility)) == 2


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


@pytest.mark.parametrize(
    "url", ["nonsense://me:hidden@host/x", "me:hidden@host", "postgresql+nothing://me:hidden@host/x"]
)
def test_an_address_that_is_no_database_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="catalogue_url") as refused:
        Catalogue(url)
    assert "hidden" not in str(refused.value)


def test_a_database_whose_driver_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Misconfigured, match=r"scope-agent\[postgres\]"):
        Catalogue("postgresql+psycopg://me@127.0.0.1/x")
