"""Every real file of the EM, neuro, slide and camera formats against what independent readers say of it."""

import json
import statistics
import time

import pytest
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect
from tests.unit.formats import truth_table_em as table


def _ids():
    return sorted(table.TABLE)


@pytest.fixture(scope="module")
def items(truths):
    """The items of a format."""

    def of(name):
        found = [item for item in truths.values() if item["format"] == name]
        assert found, name
        return found

    return of


def _members(corpus, item):
    return [corpus / one["path"] for one in item["files"]]


def _first(corpus, item):
    """The file that the truth speaks of: the last of a rolled run, else the first image."""
    members = _members(corpus, item)
    return members[-1] if item["format"] == "scanimage" else members[0]


@pytest.mark.parametrize("name", _ids())
def test_right_format_file_set_and_wholeness(corpus, items, name):
    for item in items(name):
        members = _members(corpus, item)
        sets = {}
        for path in members:
            found = inspect(path)
            assert found.format == name, path
            assert not found.metadata.errors, (path, found.metadata.errors)
            sets.setdefault(found.dataset.files, []).append(path)
            assert set(found.dataset.files) <= set(members), path
            assert path in found.dataset.files, path
            if item["complete_dataset"]:
                assert found.verdict.state is Wholeness.WHOLE, (path, found.verdict)
                assert not found.dataset.missing
            else:
                assert found.verdict.state is Wholeness.GROWING, (path, found.verdict)
        validate_xml(found.to_ome_xml())
        json.loads(found.to_json())
        # Items that are a folder of unrelated single images have a set each, all others one.
        single = item["path"].rstrip("/").rsplit("/", 1)[-1] in ("tiff_FEI_Helios", "tiff_hamamatsu")
        assert len(sets) == (len(members) if single else 1), sets


@pytest.mark.parametrize("name", _ids())
def test_every_field_of_the_truth(corpus, items, name, record_property):
    right, left_out, wrong = 0, 0, []
    for item in items(name):
        truth = item["truth"]
        path = _first(corpus, item)
        pairs = [(path, truth)]
        if name == "sem-tiff" and "files" in truth:
            pairs = [(corpus / item["path"] / file, said) for file, said in truth["files"].items()]
        for file, facts in pairs:
            said = table.Said(inspect(file))
            for key, value in table.flat(facts).items():
                how = table.rule(name, key)
                if isinstance(how, str):
                    left_out += 1
                    continue
                ours = "no rule" if how is None else _ours(how, said, key, value)
                if how is not None and table.same(ours, value):
                    right += 1
                else:
                    wrong.append((file.name, key, value, ours))
    record_property(name, f"{right} right, {left_out} left out, {len(wrong)} wrong")
    print(f"{name:18} {right:4} right {left_out:4} left out for a reason {len(wrong):4} wrong")
    assert not wrong, wrong[:10]
    assert right


def _ours(how, said, key, value):
    try:
        return how(said, key, value)
    except (KeyError, IndexError, AttributeError, TypeError, AssertionError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def test_every_format_is_in_the_table(truths):
    """A key without a rule is a failure, and so is a rule whose reason is empty."""
    assert all(isinstance(how, str) is False or how for rules in table.TABLE.values() for _, how in rules)


def seconds(path):
    """Processor time: what else the machine does meanwhile is not ours."""
    began = time.process_time()
    inspect(path)
    return time.process_time() - began


@pytest.mark.parametrize("name", _ids())
def test_an_answer_takes_less_than_a_third_of_a_second(corpus, items, name):
    paths = [_first(corpus, item) for item in items(name)]
    for path in paths:
        inspect(path)
    took = [min(seconds(path) for _ in range(3)) for path in paths]
    assert statistics.median(took) < 0.3, took
