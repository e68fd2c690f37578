"""Our readers beside Bio-Formats, item by item: `python benchmarks/formats_vs_bioformats.py [--jar JAR] [FORMAT ...]`.

Both say OME-XML, which one normaliser (`omefields.py` of the corpus' tools) turns into fields in fixed units. The
table counts fields that agree, that differ, and that only one of the two says; below it stands every field that
differs or that only Bio-Formats says. Without --jar its answers are taken from `bioformats_fields.json` in the
corpus, where they lie ready. Seconds are wall time: ours within this process, theirs for a process each.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent.formats.inspection import inspect

ROOT = Path(__file__).resolve().parent.parent
TOOL = ["loci.formats.tools.ImageInfo", "-nopix", "-novalid", "-no-upgrade", "-omexml-only"]
Fields = dict[str, Any]
CLOSE = 1e-4


@dataclass
class Answer:
    """What one reader says; no fields where it cannot read."""

    fields: Fields
    seconds: float | None
    read: bool


def ours(path: Path, normalise: Callable[[bytes], Fields]) -> tuple[Answer, str]:
    """Our fields, and the format with its verdict."""
    began = time.perf_counter()
    found = inspect(path)
    text = found.to_ome_xml()
    took = time.perf_counter() - began
    fields = normalise(text.encode())
    return Answer(fields, took, "SizeX" in fields), f"{found.format} {found.verdict.state}"


def theirs(path: Path, jar: Path, normalise: Callable[[bytes], Fields]) -> Answer:
    """Bio-Formats in a process of its own, on the file that a folder's reader would be given."""
    began = time.perf_counter()
    done = subprocess.run(
        ["java", "-Xmx1g", "-cp", str(jar), *TOOL, str(path)], capture_output=True, timeout=300, check=False
    )
    took = time.perf_counter() - began
    start = done.stdout.find(b"<?xml")
    if done.returncode or start < 0:
        return Answer({}, took, read=False)
    return Answer(normalise(done.stdout[start:].strip()), took, read=True)


def same(one: Any, other: Any) -> bool:
    """Numbers to a ten-thousandth, dates to the second, names without blanks at their ends."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= CLOSE * max(abs(one), abs(other))
    if isinstance(one, str) and isinstance(other, str):
        dated = one[4:5] == "-" and one[10:11] == "T"
        return one[:19] == other[:19] if dated else one.strip() == other.strip()
    return bool(one == other)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*")
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--tool", type=Path, default=ROOT.parent / "shared/tools/omefields.py")
    parser.add_argument("--jar", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    normalise = _normaliser(options.tool)
    ready = {} if options.jar else json.loads((options.corpus / "bioformats_fields.json").read_text())
    lines: list[str] = []
    took: tuple[list[float], list[float]] = ([], [])
    read = [0, 0]
    print(f"{'item':58} {'ours':34} {'s':>6} {'their s':>7} {'same':>4} {'other':>5} {'ours':>5} {'theirs':>6}")
    for item in json.loads((options.corpus / "MANIFEST.json").read_text()):
        if options.formats and item["format"] not in options.formats:
            continue
        mine, state = ours(options.corpus / item["path"], normalise)
        if options.jar:
            other = theirs(options.corpus / item["files"][0]["path"], options.jar, normalise)
        else:
            said = ready.get(item["path"], {})
            other = Answer(said.get("fields") or {}, None, bool(said.get("read")))
        counts, differences = _compared(mine.fields, other.fields)
        lines += [f"{item['path']}: {line}" for line in differences]
        for number, one in enumerate((mine, other)):
            read[number] += one.read
            took[number].extend([] if one.seconds is None else [one.seconds])
        seconds = "" if other.seconds is None else f"{other.seconds:.2f}"
        only = counts[3] if other.read else "-"
        told = f"{counts[0]:4} {counts[1]:5} {counts[2]:5} {only:>6}"
        print(f"{item['path'][:58]:58} {state:34} {mine.seconds:6.3f} {seconds:>7} {told}", flush=True)
    print(f"\nread: ours {read[0]}, Bio-Formats {read[1]}; median seconds: " + ", ".join(
        f"{name} {statistics.median(all_):.3f}" for name, all_ in zip(("ours", "theirs"), took, strict=True) if all_
    ))  # fmt: skip
    print("\nfields that differ, or that only Bio-Formats says:")
    print("\n".join(lines))
    return 0


def _compared(mine: Fields, other: Fields) -> tuple[list[int], list[str]]:
    """[same, other, only ours, only theirs], and a line for each that is not the same."""
    counts = [0, 0, 0, 0]
    lines = []
    for key in sorted({*mine, *other}):
        if key not in other:
            counts[2] += 1
            continue
        kind = 3 if key not in mine else 0 if same(mine[key], other[key]) else 1
        counts[kind] += 1
        if kind:
            lines.append(f"{key}: ours {str(mine.get(key, '-'))[:90]}, Bio-Formats {str(other[key])[:90]}")
    return counts, lines


def _normaliser(path: Path) -> Callable[[bytes], Fields]:
    spec = importlib.util.spec_from_file_location("omefields", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file: name omefields.py with --tool")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[bytes], Fields] = module.fields
    return found


if __name__ == "__main__":
    sys.exit(main())
