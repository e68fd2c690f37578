"""How many fields of the corpus each format says rightly, and how long one file takes in one process.

    python benchmarks/formats.py [CORPUS]      (default: SCOPE_AGENT_CORPUS or ../shared/data)

Each item is asked once to warm up the imports, then timed three times; the time shown is the middle one.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from agent.formats.inspection import Inspection, inspect
from tests.unit.formats import truth_table, truth_table_em

ROOT = Path(__file__).parent.parent


def unpacked(corpus: Path, item: dict[str, Any], folder: Path) -> list[Path]:
    """The files of an item, those that the corpus keeps compressed written to `folder`."""
    files = []
    for one in item["files"]:
        path = corpus / one["path"]
        if path.suffix == ".gz":
            path = folder / path.stem
            path.write_bytes(gzip.decompress((corpus / one["path"]).read_bytes()))
        files.append(path)
    return files


def score(table: Any, item: dict[str, Any], found: Inspection) -> tuple[int, int, int, list[str]]:
    """(right, absent for a reason, left out for a reason, wrong keys)."""
    right, absent, left_out, wrong = 0, 0, 0, []
    said = table.Said(found)
    for key, truth in table.flat(item["truth"]).items():
        how = table.rule(item["format"], key)
        if isinstance(how, str):
            left_out += 1
            continue
        try:
            ours = None if how is None else how(said, key, truth)
        except (LookupError, AttributeError, TypeError, ValueError, AssertionError, StopIteration) as error:
            ours = repr(error)
        if table.same(ours, truth):
            right += 1
        elif ours == "absent" and table.may_be_absent(key, truth, said):
            absent += 1
        else:
            wrong.append(key)
    return right, absent, left_out, wrong


def timed(path: Path) -> tuple[Inspection, float]:
    inspect(path).to_ome_xml()
    took = []
    for _ in range(3):
        began = time.perf_counter()
        found = inspect(path)
        found.to_ome_xml()
        took.append(time.perf_counter() - began)
    return found, statistics.median(took)


def main() -> None:
    corpus = Path(
        sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SCOPE_AGENT_CORPUS", ROOT.parent / "shared/data")
    )
    items = json.loads((corpus / "MANIFEST.json").read_text(encoding="utf-8"))
    times: list[float] = []
    rows: dict[str, list[Any]] = {}
    for item in items:
        with tempfile.TemporaryDirectory() as folder:
            files = unpacked(corpus, item, Path(folder))
            found, took = timed(files[0])
            row = rows.setdefault(item["format"], [0, 0, 0, 0, 0, [], set()])
            row[0] += 1
            row[5].append(took)
            row[6].add(str(found.verdict.state))
            if item["format"] in truth_table.TABLE:
                right, absent, left_out, wrong = score(truth_table, item, found)
                row[1:5] = [row[1] + right, row[2] + absent, row[3] + left_out, row[4] + len(wrong)]
            times.append(took)
    print(f"{'format':24}{'items':>6}{'right':>7}{'absent':>8}{'left out':>10}{'wrong':>7}{'ms':>8}  state")
    for name, (count, right, absent, left_out, wrong, took, states) in sorted(rows.items()):
        scored = name in truth_table.TABLE
        numbers = (right, absent, left_out, wrong) if scored else ("-",) * 4
        line = f"{name:24}{count:>6}{numbers[0]:>7}{numbers[1]:>8}{numbers[2]:>10}{numbers[3]:>7}"
        print(f"{line}{statistics.median(took) * 1000:>8.0f}  {', '.join(sorted(states))}")
    print(f"median of {len(times)} items: {statistics.median(times) * 1000:.0f} ms, slowest {max(times) * 1000:.0f} ms")
    others = sorted(set(truth_table_em.TABLE) - set(truth_table.TABLE))
    print(f"the fields of {len(others)} further formats are scored by tests/unit/formats/test_truth_em.py")


if __name__ == "__main__":
    main()
