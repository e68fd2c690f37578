"""What the documents name exists."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_two_commands_stand_at_the_top_of_the_readme() -> None:
    commands = [line.strip() for line in text("README.md").splitlines()[:15] if line.startswith("    ")]
    assert len(commands) == 2
    assert "scope-agent demo --once" in commands[0]
    assert commands[1].endswith("pytest")


def test_every_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"scope-agent ((?:hook |facility |facility token )?[a-z]+)", text("README.md")))
    named |= set(re.findall(r"`(status|inspect|annotate|methods|verify|schema)", text("README.md")))
    for command in sorted(named - {"runs", "demo"}):
        done = subprocess.run(
            [sys.executable, "-m", "agent", *command.split(), "--help"], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0, command


@pytest.mark.parametrize("page", ["README.md", "docs/guarantees.md", "docs/CONTRIBUTING.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    for name in re.findall(r"(?:\(|`)((?:docs|tests|agent|benchmarks|deploy)/[\w./-]+)", text(page)):
        assert (ROOT / name).exists(), name


def test_every_test_that_the_guarantees_name_exists() -> None:
    file = ""
    for path, test in re.findall(r"`((?:tests|agent)/[\w./]+)?::(\w+)`", text("docs/guarantees.md")):
        file = path or file
        assert f"def {test}(" in text(file)


def test_no_registry_is_named_in_a_tracked_file() -> None:
    words = "|".join(["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org"])
    done = subprocess.run(["git", "grep", "-lE", words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.stdout == ""
