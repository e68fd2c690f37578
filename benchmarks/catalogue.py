"""Search of a large catalogue: p50, p95 and slowest of every kind of question, on SQLite and on PostgreSQL.

Usage: python benchmarks/catalogue.py [ROWS] [--url SQLALCHEMY_URL]     (100,000 rows where none are said)
PostgreSQL comes from `pgserver` (pip); `--url` names another one, whose tables are made anew.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.clock import iso
from agent.contract.record import Tier
from agent.facility.catalogue import Catalogue, Measurement, Quarantined
from agent.facility.search import Entry, Query
from agent.facility.tables import datasets, details

CHANNELS = ["DAPI", "FITC", "mCherry", "Cy5", "brightfield", "GFP", "TRITC"]
WORDS = ["cells", "embryo", "tissue", "beads", "organoid", "yeast", "worm", "kidney", "cortex", "hela"]
ASKED = 60


def row(n: int, chance: random.Random) -> tuple[Entry, str]:
    began = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=n * 900 + chance.randrange(600))
    at_ns = int(began.timestamp()) * 10**9
    name = f"{chance.choice(WORDS)}-{chance.randrange(5000)}"
    objective = f"Plan Apo {chance.choice([10, 20, 40, 60, 100])}x"
    filled = chance.randrange(60, 112)
    instrument = f"scope{n % 40}"
    entry = Entry(
        dataset=f"lab{n % 3}/{instrument}/{began:%Y/%m/%d/%H%M%S}_{name}_{n:08x}", id=f"id-{n:08x}", site=f"lab{n % 3}",
        instrument=instrument, name=name, started_ns=at_ns, started_at=iso(at_ns), finished_at=iso(at_ns + 60 * 10**9),
        finish_reason="completed", frames=chance.randrange(1, 5000), files=8, bytes=chance.randrange(10**6, 10**10),
        user=f"user{chance.randrange(300)}", project=f"P{chance.randrange(120)}",
        sample=f"sample {chance.randrange(9000)}",
        objective=objective, channels=chance.sample(CHANNELS, chance.randrange(1, 4)),
        completeness={"tier1": Tier(filled=filled, required=111), "rembi": Tier(filled=12, required=12)},
        complete=100 * filled // 111, qc=chance.choice(["pass", "pass", "pass", "none", "overdue", "fail"]),
    )  # fmt: skip
    return entry, f"{objective} Ti2-E sCMOS 12345 {name}.ome.tiff"


def measured(entry: Entry) -> list[Measurement]:
    month = (entry.started_at or "")[:7]
    return [
        Measurement(
            site=entry.site, instrument=entry.instrument, metric=metric, measured_at=f"{month}-01T08:00:00.000000Z",
            value=1.5, unit="electron", bound=2.0, sense="at most", status="pass", kind="detector",
        )
        for metric in ("read_noise_rms", "gain", "dark_current")
    ]  # fmt: skip


def fill(catalogue: Catalogue, rows: int) -> float:
    """Rows in batches, as the catalogue itself would write them one by one."""
    chance = random.Random(7)
    began = time.perf_counter()
    batch = []
    for n in range(rows):
        entry, text = row(n, chance)
        batch.append(catalogue.rows(entry, text))
        if n % 97 == 0:
            catalogue.measure(measured(entry))
        if len(batch) == 2000 or n == rows - 1:
            with catalogue._engine.begin() as db:
                db.execute(datasets.insert(), [first for first, _ in batch])
                db.execute(details.insert(), [second for _, second in batch])
            batch = []
    for n in range(20):
        one = catalogue.find(Query(limit=1, q=f"{n:08x}")).items[0]
        catalogue.isolate(
            Quarantined(
                dataset=one.dataset, site=one.site, instrument=one.instrument, reason="1 different", stored=True,
                since="2026-01-01T00:00:00.000000Z",
            )
        )  # fmt: skip
    return time.perf_counter() - began


def questions(chance: random.Random, rows: int) -> dict[str, Callable[[], Query]]:
    day = datetime(2023, 1, 1, tzinfo=UTC)

    def since() -> int:
        return int((day + timedelta(seconds=chance.randrange(rows) * 900)).timestamp()) * 10**9

    return {
        "newest": lambda: Query(),
        "instrument": lambda: Query(instrument=f"lab{chance.randrange(3)}/scope{chance.randrange(40)}"),
        "time": lambda: Query(since_ns=(at := since()), until_ns=at + 86_400 * 10**9),
        "common word": lambda: Query(q=chance.choice(WORDS)),
        "rare word": lambda: Query(q=f"{chance.choice(WORDS)}-{chance.randrange(5000)}"),
        "no such word": lambda: Query(q=f"nothing{chance.randrange(10**6)}"),
        "three words": lambda: Query(q=f"apo {chance.choice(WORDS)} user{chance.randrange(300)}"),
        "user": lambda: Query(user=f"user{chance.randrange(300)}"),
        "project": lambda: Query(project=f"p{chance.randrange(120)}"),
        "sample": lambda: Query(sample=f"sample {chance.randrange(9000)}"),
        "objective": lambda: Query(objective="60x"),
        "channel": lambda: Query(channel=chance.choice(CHANNELS)),
        "no such channel": lambda: Query(channel="Atto"),
        "complete": lambda: Query(complete=chance.randrange(80, 101)),
        "tier": lambda: Query(tier="tier1"),
        "qc": lambda: Query(qc=chance.choice(["fail", "overdue", "pass"])),
        "everything": lambda: Query(
            q="apo", user="user1", channel="DAPI", complete=70, qc="pass", instrument=f"scope{chance.randrange(40)}"
        ),
    }


def ask(catalogue: Catalogue, rows: int) -> float:
    """Prints a line a kind of question; returns the p95 of all."""
    chance = random.Random(11)
    every: list[float] = []
    for name, make in questions(chance, rows).items():
        took = []
        for _ in range(ASKED):
            query = make()
            began = time.perf_counter()
            page = catalogue.find(query)
            took.append(1000 * (time.perf_counter() - began))
        every += took
        print(f"  {name:18} p50 {statistics.median(took):7.2f} ms   p95 {p95(took):7.2f} ms   max {max(took):7.2f} ms"
              f"   ({len(page.items)} on the last page)")  # fmt: skip
    for name, call in (("totals", catalogue.instruments), ("usage", catalogue.usage), ("trend", catalogue.trend)):
        began = time.perf_counter()
        call()
        print(f"  {name:18} {1000 * (time.perf_counter() - began):7.2f} ms")
    return p95(every)


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


@contextmanager
def urls(folder: Path) -> Iterator[dict[str, str]]:
    found = {"SQLite": f"sqlite:///{folder / 'catalogue.sqlite'}"}
    if "--url" in sys.argv:
        yield found | {"named": sys.argv[sys.argv.index("--url") + 1]}
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pgserver
    except ImportError:
        print("PostgreSQL is left out: pip install pgserver 'psycopg[binary]'")
        yield found
        return
    server = pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield found | {"PostgreSQL": server.get_uri().replace("postgresql:", "postgresql+psycopg:")}
    finally:
        server.cleanup()


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdecimal() else 100_000
    with tempfile.TemporaryDirectory(prefix="catalogue-") as name:
        Path(name).chmod(0o755)
        with urls(Path(name)) as found:
            for kind, url in found.items():
                catalogue = Catalogue(url)
                print(f"{kind}: {rows} rows written in {fill(catalogue, rows):.0f} s")
                print(f"  all together: p95 {ask(catalogue, rows):.2f} ms (bar: 100 ms)", flush=True)
                catalogue.close()


if __name__ == "__main__":
    main()
