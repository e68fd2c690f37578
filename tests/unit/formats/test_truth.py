"""Every real light-microscopy file against what independent readers say of it: format, file set, wholeness, fields."""

import gzip
import json
import statistics
import time

import pytest
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect
from tests.unit.formats import truth_table as table

STATES = {
    "imagexpress/1well-3C-2S-Zmix-T/": (Wholeness.UNKNOWN, "a plate without .HTD has no sign of its end"),
    "imagexpress/9987_Plate_3435/": (Wholeness.GROWING, "the .HTD plans six time points, the item holds two"),
    "leica-matrix-ome-tiff/matrixscreener-experiment--test/": (Wholeness.UNKNOWN, "nothing tells the last field"),
    "micromanager-2.0/alpha_2.0_singleplane/": (Wholeness.UNKNOWN, "metadata.txt lacks its closing brace"),
}
"""Where the answer is not `whole` although the corpus calls the item complete, and why."""


@pytest.fixture(scope="module")
def places(corpus, truths, tmp_path_factory):
    """(item, folder or file, its members) by path; compressed ones are unpacked first."""
    found = {}
    for path, item in truths.items():
        if item["format"] not in table.TABLE:
            continue
        members = [corpus / one["path"] for one in item["files"]]
        if any(one.suffix == ".gz" for one in members):
            folder = tmp_path_factory.mktemp("unpacked")
            for one in members:
                (folder / one.stem).write_bytes(gzip.decompress(one.read_bytes()))
            members = sorted(folder.iterdir())
        found[path] = (item, members)
    return found


def _of(places, name):
    return [(item, members) for item, members in places.values() if item["format"] == name]


@pytest.mark.parametrize("name", sorted(table.TABLE))
def test_right_format_file_set_and_wholeness(places, name):
    checked = 0
    for item, members in _of(places, name):
        answers = set()
        # Every member of a small set; of a plate the first, the last and the texts.
        asked = (
            members if len(members) < 20 else [*members[:2], members[-1], *(p for p in members if p.suffix != ".tif")]
        )
        for path in asked:
            if path.suffix == ".skel":
                continue  # a skeleton that the corpus keeps instead of the pixels: no file of the format
            found = inspect(path)
            assert found.format == name, path
            assert set(found.dataset.files) == set(members), (path, set(members) ^ set(found.dataset.files))
            answers.add((found.dataset, found.verdict))
            checked += 1
        assert len(answers) == 1, answers
        state = Wholeness.WHOLE if item["complete_dataset"] else Wholeness.GROWING
        expected = STATES.get(item["path"], (state, ""))[0]
        assert found.verdict.state is expected, (item["path"], found.verdict)
        assert bool(found.dataset.missing) == (expected is Wholeness.GROWING and "2.0" not in name), (
            found.dataset.missing
        )
        validate_xml(found.to_ome_xml())
        images = 0 if found.metadata.ome is None else len(found.metadata.ome.images)
        assert found.to_ome_xml().count("<Image ") == images, "the XML lost images"
        json.loads(found.to_json())
        assert found.metadata.errors == ()
    assert checked


def _ours(how, said, key, value):
    try:
        return how(said, key, value)
    except (KeyError, IndexError, AttributeError, TypeError, AssertionError, ValueError, StopIteration) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", sorted(table.TABLE))
def test_every_field_of_the_truth(places, name):
    right, absent, left_out, wrong = 0, 0, 0, []
    for item, members in _of(places, name):
        said = table.Said(inspect(members[0]))
        for key, value in table.flat(item["truth"]).items():
            how = table.rule(name, key)
            if isinstance(how, str):
                assert how, key
                left_out += 1
                continue
            ours = "the table has no rule" if how is None else _ours(how, said, key, value)
            if table.same(ours, value):
                right += 1
            elif ours == "absent" and table.may_be_absent(key, value, said):
                absent += 1
            else:
                wrong.append((item["path"], key, value, ours))
    print(f"{name:22} {right:4} right {absent:3} absent {left_out:4} left out, both for a reason, {len(wrong):3} wrong")
    assert not wrong, "\n".join(map(str, wrong[:25]))
    assert right


def seconds(path):
    """Processor time: what else the machine does meanwhile is not ours."""
    began = time.process_time()
    inspect(path)
    return time.process_time() - began


@pytest.mark.parametrize("name", sorted(table.TABLE))
def test_an_answer_takes_less_than_a_third_of_a_second(places, name):
    took = []
    for _, members in _of(places, name):
        inspect(members[0])
        took.append(min(seconds(members[0]) for _ in range(3)))
    assert statistics.median(took) < 0.3, took
