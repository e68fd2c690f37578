"""The drawing of the layers is checked, and the check can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]


def lint(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        LINT, cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)}
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "agent", tmp_path / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_stage_imports_its_right() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("sources/identity.py", "import agent.outbox", "a stage may import its left"),
        ("facility/tokens.py", "import agent.sources.identity", "the facility knows the contract"),
        ("hook/spool.py", "import agent.errors", "the hook imports nothing of ours"),
        ("steps/settle.py", "import sqlite3", "only the outbox opens SQLite"),
        ("stray.py", "", "a stage may import its left"),
    ],
)
def test_a_planted_import_turns_it_red(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / "agent" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert contract in done.stdout or "stray" in done.stdout
