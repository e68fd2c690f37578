"""Datasets of many files while they are written: never whole before the last byte of the last needed file.

Files arrive in a random order, the index first, last or between; the newest is cut at a random place. Default 40
runs a family; SCOPE_AGENT_RUNS=1000 for the long campaign.
"""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from agent.formats import Wholeness, identify

RUNS = int(os.environ.get("SCOPE_AGENT_RUNS", "40"))
FAMILIES = {
    "metamorph-nd": "metamorph-nd/sample_3ch_2pos_mixed-z",
    "ndtiff": "ndtiff/12_bit_pycromanager_mda",
    "imagexpress": "imagexpress/9987_Plate_3420",
    "cellvoyager": "cellvoyager/CV8000-2C-3W-4S",
}
NOT_NEEDED = ("display_settings.txt", ".log", ".wpi", ".wpp", ".mes", ".xml", "SC_")
"""Files that belong to a set when they are there, and that nothing announces."""


def oif(folder):
    """A set that no corpus item has: a text and 6 planes."""
    axes = "".join(
        f"[Axis {n} Parameters Common]\nAxisCode={axis}\nMaxSize={size}\n"
        for n, (axis, size) in enumerate((("X", 8), ("Y", 6), ("C", 2), ("Z", 3)))
    )
    (folder / "a.oif").write_text(f"{axes}[Version Info]\nSystemName=FV\nSystemVersion=4.1\n")
    (folder / "a.oif.files").mkdir()
    for c in range(2):
        for z in range(3):
            data = np.zeros((6, 8), np.uint16)
            tifffile.imwrite(folder / f"a.oif.files/s_C00{c + 1}Z00{z + 1}.tif", data, metadata=None)
    return folder


@pytest.fixture(params=[*FAMILIES, "oif"])
def family(request, tmp_path):
    if request.param == "oif":
        (tmp_path / "source").mkdir()
        return request.param, oif(tmp_path / "source")
    return request.param, request.getfixturevalue("corpus") / FAMILIES[request.param]


def verdict(path):
    found = identify(path)
    return found.name, found.is_whole(found.dataset(path))


def test_never_whole_early(family, tmp_path):
    name, source = family
    files = [path for path in source.rglob("*") if path.is_file()]
    needed = [path for path in files if not any(word in path.name for word in NOT_NEEDED)]
    dice = random.Random(name)
    for run in range(RUNS if name != "cellvoyager" or RUNS > 40 else 4):
        target = tmp_path / f"run{run}"
        order = [*dice.sample(needed, len(needed)), *(path for path in files if path not in needed)]
        asked = set(dice.sample(range(len(needed)), min(4, len(needed)))) | {len(needed) - 1}
        for number, path in enumerate(order[: len(needed)]):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            good = path.read_bytes()
            if number in asked:
                # The last bytes may be a line end, or padding behind all that counts.
                copy.write_bytes(good[: dice.randrange(max(1, len(good) - 40))])
                for other in {copy, target / order[0].relative_to(source)}:
                    format_name, answer = verdict(other)
                    early = format_name == name and answer.state is Wholeness.WHOLE
                    assert not early, (run, number, path.name, copy.stat().st_size, len(good), answer)
            copy.write_bytes(good)
        for path in order[len(needed) :]:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        last = target / Path(order[0]).relative_to(source)
        format_name, answer = verdict(last)
        assert (format_name, answer.state) == (name, Wholeness.WHOLE), (run, answer)
        shutil.rmtree(target)
